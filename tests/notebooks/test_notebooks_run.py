"""Every notebook through papermill, by the runner that users call, on a handful of clips and a few steps.

Two runner processes work side by side; 06, 07 and 08 share a report, so that they chain as in the demo.
"""

import json
import re
from pathlib import Path

import nbformat
import pytest

from semrepa.data.index import read_index, write_index
from tests.browser.chromium import browser, offline_page, photograph
from tests.browser.figures import figures_not_seen
from tests.notebooks.runners import finish, start

ROOT = Path(__file__).parents[2]
SHARES = [
    ["00_start_here", "03_structure_aligner", "06_dit_finetuning", "07_generation", "08_evaluation"],
    ["01_data_curation", "02_depth_colorization", "04_id_aligner", "05_id_distance_analysis", "09_ablations"],
]
KNOBS = [["--parameter=clips=2"], ["--parameter=arms=[base, both]"]]
NAMES = sorted(SHARES[0] + SHARES[1])
BRIEF = {"steps": 2, "batch_size": 2, "warmup": 0, "eval_every": 2, "checkpoint_every": 2}
TRAININGS = ("pretrain_structure", "pretrain_identity", "finetune")
OVERRIDES = {
    "video.num_frames": 9,
    "data.extra_train": 0,
    "data.extra_heldout": 0,
    "generate.num_inference_steps": 2,
    **{f"{training}.{name}": value for training in TRAININGS for name, value in BRIEF.items()},
}
LIMIT = 900
"""Seconds for all notebooks; one of them may take eight minutes."""
DRAWS = re.compile(
    r"\b(live|train|contact_sheet|scrubber|lines|depth_figure|aligner_figure|balance_bars|distance_histograms|roc"
    r"|error_curves|exploit_scatter|layer_curves"
    r"|embedding_map|distance_matrix|compare_arms|latent_browser|identity_over_frames|noise_explorer"
    r"|gradients_by_timestep|drift|memory_figure|funnel|rejected_gallery|spread|questions|record_figure"
    r"|depth_scrubber|versus|distance_explorer|noise_level_explorer|weight_explorer"
    r"|difference_dots|clip_dots|pulls|flow|seed_figure|distributions)\("
)

pytestmark = pytest.mark.slow


def small_index(folder: Path) -> Path:
    """A few clips of the samples: three for training, one that nobody is in, and four that are held out."""
    rows = read_index(ROOT / "data_samples" / "index.jsonl")
    people = [row for row in rows if row.identity is not None]
    chosen = [row for row in people if row.split == "train"][:3]
    chosen += [row for row in rows if row.identity is None]
    return write_index(folder / "index.jsonl", chosen + [row for row in people if row.split == "heldout"][:4])


def arguments(folder: Path, number: int) -> list[str]:
    """Command line of the runner that does one share of the notebooks."""
    overrides = OVERRIDES | {"data.index": str(folder / "index.jsonl")}
    options = [f"--override={name}={value}" for name, value in overrides.items()]
    names = [f"notebooks/{name}.ipynb" for name in SHARES[number]]
    return [*names, "--run-dir", str(folder), "--timeout", "8", *KNOBS[number], *options]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with one run folder per notebook."""
    folder = tmp_path_factory.mktemp("report")
    small_index(folder)
    cache = {"SEMREPA_CACHE": str(folder / "cache")}
    logs = [folder / f"share {number}.log" for number in range(len(SHARES))]
    running = {log: start(log, arguments(folder, number), **cache) for number, log in enumerate(logs)}
    finish(running, seconds=LIMIT)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_notebook_finishes(report, name):
    run = json.loads((report / name / "run.json").read_text())
    assert run["status"] == "ok"
    assert run["metrics"]
    assert {record["kind"] for record in run["provenance"]} == {"mini"}


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_is_in_the_saved_notebook(report, name):
    path = report / name / f"{name}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    assert path.stat().st_size < 2e6
    assert "widgets" not in notebook.metadata
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        kinds = [kind for output in cell.outputs for kind in output.get("data", {})]
        if DRAWS.search(cell.source):
            assert "image/png" in kinds, f"no picture from:\n{cell.source}"
        printed = "".join(output.text for output in cell.outputs if output.output_type == "stream")
        assert "Traceback" not in printed
        assert "%|" not in printed, "a progress bar was left in the output"


@pytest.mark.parametrize("name", NAMES)
def test_page_opens_offline(report, name):
    page = (report / name / f"{name}.html").read_text()
    assert page.count("data:image/png;base64,") >= 1
    assert re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=[\"'](?:https?:)?//", page) == []


@pytest.fixture(scope="module")
def chromium():
    with browser() as found:
        yield found


@pytest.mark.parametrize("name", NAMES)
def test_page_shows_every_figure_in_a_browser_without_network(report, chromium, name):
    with offline_page(chromium, report / name / f"{name}.html") as (page, asked):
        drawing, missing = figures_not_seen(page, DRAWS)
        notebook = nbformat.read(report / name / f"{name}.ipynb", as_version=4)
        cells = [cell for cell in notebook.cells if cell.cell_type == "code" and DRAWS.search(cell.source)]
        assert drawing == len(cells) > 0
        assert missing == []
        assert asked == [], "the page asks the network for something"
        photograph(page, f"page_{name}")


def test_later_notebooks_take_what_earlier_ones_made(report):
    assert not (report / "07_generation" / "aligned").exists(), "07 has fine-tuned although 06 had"
    assert not (report / "08_evaluation" / "videos").exists(), "08 has made videos although 07 had"


@pytest.mark.parametrize("name", NAMES)
def test_saved_notebook_is_small_and_quiet(report, name, pytestconfig):
    path = report / name / f"{name}.ipynb"
    seconds = json.loads((report / name / "stage.json").read_text())["seconds"]
    told = f" {name}: {seconds:.0f} s, {path.stat().st_size / 1e6:.2f} MB"
    pytestconfig.pluginmanager.get_plugin("terminalreporter").write_line(told)
    assert path.stat().st_size <= 1.5e6
    cells = nbformat.read(path, as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    errors = "".join(output.text for output in outputs if output.get("name") == "stderr")
    assert "Traceback" not in errors


def test_a_second_command_keeps_what_is_done_and_takes_clips_from_the_cache(report):
    def features():
        files = [path for path in (report / "cache").rglob("*") if path.suffix in (".safetensors", ".npz")]
        return {path: path.stat().st_mtime_ns for path in files}

    before, cache = features(), {"SEMREPA_CACHE": str(report / "cache")}
    assert before
    log = report / "again.log"
    finish({log: start(log, [*arguments(report, 0), "--resume"], **cache)}, seconds=LIMIT)
    rows = json.loads((report / "summary.json").read_text())
    assert {row["name"]: row["kept"] for row in rows} == dict.fromkeys(SHARES[0], True)

    names = [f"notebooks/{SHARES[1][-1]}.ipynb", *arguments(report, 1)[len(SHARES[1]) :]]
    names[names.index("--run-dir") + 1] = str(report / "elsewhere")
    log = report / "cached.log"
    finish({log: start(log, names, **cache)}, seconds=LIMIT)
    assert features() == before, "a clip was prepared again"
