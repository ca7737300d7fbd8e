"""Which cells of a notebook that draw show something, in JupyterLab and on an exported page."""

import re

SEEN = """cells => cells.map(cell => {
    const output = [...cell.querySelectorAll('.jp-OutputArea, .jp-Cell-outputWrapper')];
    const images = output.flatMap(area => [...area.querySelectorAll('img')]);
    return [
        cell.querySelector('.jp-InputArea, .jp-Cell-inputWrapper')?.innerText ?? '',
        images.some(image => image.complete && image.naturalWidth > 50)
        || output.some(area => area.querySelector('.main-svg, canvas') !== null)
    ];
})"""


def figures_not_seen(page, draws: re.Pattern) -> tuple[int, list[str]]:
    """How many cells draw, and the sources of those whose picture, plot or page is not there."""
    cells = page.eval_on_selector_all(".jp-CodeCell", SEEN)
    drawing = [(source, is_there) for source, is_there in cells if draws.search(source)]
    return len(drawing), [source for source, is_there in drawing if not is_there]
