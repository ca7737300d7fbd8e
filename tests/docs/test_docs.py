"""What README, docs and notebooks promise is there: links, commands, settings, quoted messages, times."""

import argparse
import ast
import importlib
import json
import re
import shlex
from pathlib import Path

import nbformat
import pytest

from semrepa.config import override, preset
from semrepa.showcase.times import CELL, read_times, time_line

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
GALLERY = sorted((ROOT / "docs" / "gallery").glob("*.png"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
INLINE = re.compile(r"`(python -m semrepa[^`]*)`")
BLOCKS = re.compile(r"^ *```\w*\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
PLACEHOLDERS = {"...", "…"}


def texts(page):
    """A page's text, or the texts of a notebook's cells."""
    if page.suffix == ".md":
        return page.read_text(encoding="utf-8")
    cells = nbformat.read(page, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def commands(text):
    """Every `python -m semrepa...` of a page, in code blocks and in the text, as lists of words."""
    lines = [line for block in BLOCKS.findall(text) for line in block.replace("\\\n", " ").splitlines()]
    known = dict(match.groups() for line in lines if (match := re.fullmatch(r'(\w+)="(.*)"', line.strip())))
    lines = [re.sub(r"\$(\w+)", lambda match: known.get(match[1], match[0]), line) for line in lines]
    found = [line[line.index("python -m semrepa") :] for line in lines if "python -m semrepa" in line]
    found += [" ".join(command.split()) for command in INLINE.findall(BLOCKS.sub("", text))]
    found = [
        re.sub(r"\bN\b", "1", re.split(r" (?:>|2>|&)", command)[0]) for command in found
    ]  # N: any number
    return [shlex.split(command, comments=True) for command in found]


ALL_COMMANDS = [
    pytest.param(words, id=f"{page.stem}: {' '.join(words[2:])[:70]}")
    for page in [*PAGES, *NOTEBOOKS]
    for words in commands(texts(page))
]


class Parsed(Exception):
    """The command line was understood."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_resolve(page):
    links = [link for link in re.findall(r"\]\(([^)#\s]+)", texts(page)) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("words", ALL_COMMANDS)
def test_commands_are_understood(words, monkeypatch, tmp_path):
    module, arguments = words[2], words[3:]
    assert (ROOT.joinpath(*module.split(".")).with_suffix(".py")).is_file() or (
        ROOT.joinpath(*module.split(".")) / "__main__.py"
    ).is_file()
    if not arguments or PLACEHOLDERS & set(arguments):
        return
    understood = argparse.ArgumentParser.parse_args

    def parse(parser, args=None, namespace=None):
        raise Parsed(understood(parser, args, namespace))

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    package = ROOT.joinpath(*module.split(".")).is_dir()
    program = importlib.import_module(f"{module}.__main__" if package else module)
    monkeypatch.chdir(tmp_path)
    if "--out" in arguments:  # its folder is looked for
        (tmp_path / arguments[arguments.index("--out") + 1]).parent.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr("sys.argv", [module, *arguments])
    given = () if program.main.__code__.co_argcount == 0 else (arguments,)
    with pytest.raises(Parsed):
        program.main(*given)


@pytest.mark.parametrize("words", [p for p in ALL_COMMANDS if "-o" in p.values[0]])
def test_settings_in_commands_are_settings(words):
    pairs = [words[k + 1] for k, word in enumerate(words) if word == "-o" and "=" in words[k + 1]]
    pairs = [pair for pair in pairs if not pair.startswith("name=")]
    name = words[words.index("--preset") + 1] if "--preset" in words else "mini"
    override(preset(name), pairs)


def templates():
    """Every text of the library as a pattern, values of f-strings standing for anything."""
    found = []
    for path in (ROOT / "semrepa").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else None for part in node.values]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                parts = [node.value]
            else:
                continue
            letters = sum(len(part) for part in parts if part)
            pattern = "".join(".+?" if part is None else re.escape(part) for part in parts)
            lines = pattern.replace("\\\n", "\n").split("\n")
            found += [
                (re.compile(line), len(re.sub(r"\.\+\?|\\", "", line))) for line in lines if letters > 14
            ]
    return found


def quoted(page):
    return [line.removeprefix("> ") for line in texts(page).splitlines() if line.startswith("> ")]


@pytest.mark.parametrize("message", quoted(ROOT / "docs" / "TROUBLESHOOTING.md"))
def test_quoted_messages_are_what_the_code_says(message):
    longest = max((count for pattern, count in KNOWN if pattern.search(message)), default=0)
    assert longest >= 14, "no text of the library reads like this"


KNOWN = templates()


def test_gallery_is_small_and_complete():
    assert {path.stem for path in GALLERY} <= {path.stem for path in NOTEBOOKS}
    assert {"00_start_here", "06_dit_finetuning", "10_method_from_scratch"} <= {path.stem for path in GALLERY}
    assert [path.name for path in GALLERY if path.stat().st_size > 150_000] == []
    page = (ROOT / "docs" / "gallery" / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in GALLERY if f"]({path.name})" not in page] == []


@pytest.mark.parametrize("name", sorted(read_times(ROOT / "notebooks")))
def test_time_at_the_top_of_a_notebook_is_the_measured_one(name):
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    assert notebook.cells[1].get("id") == CELL
    assert notebook.cells[1].source == time_line(read_times(ROOT / "notebooks")[name]), (
        "typed by hand? python -m semrepa.showcase writes it"
    )


def test_times_are_known_for_every_notebook():
    times = json.loads((ROOT / "notebooks" / "times.json").read_text(encoding="utf-8"))
    assert {path.stem for path in NOTEBOOKS} == set(times)
