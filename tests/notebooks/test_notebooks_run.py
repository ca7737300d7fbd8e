"""Every notebook through papermill, by the runner that users call, on a handful of clips and a few steps.

Two runner processes work side by side; 06, 07 and 08 share a report, so that they chain as in the demo.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from semrepa.data.index import read_index, write_index

ROOT = Path(__file__).parents[2]
SHARES = [
    ["00_start_here", "03_structure_aligner", "06_dit_finetuning", "07_generation", "08_evaluation"],
    ["01_data_curation", "02_depth_colorization", "04_id_aligner", "05_id_distance_analysis"],
]
KNOBS = [["--parameter=clips=2"], []]
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
DRAWS = re.compile(
    r"\b(live|train|contact_sheet|scrubber|lines|depth_figure|aligner_figure|balance_bars|distance_histograms|roc"
    r"|error_curves|exploit_scatter|layer_curves"
    r"|embedding_map|distance_matrix|compare_arms|latent_browser|identity_over_frames|noise_explorer"
    r"|gradients_by_timestep|drift|memory_figure|funnel|rejected_gallery|spread|questions|record_figure)\("
)

pytestmark = pytest.mark.slow


def small_index(folder: Path) -> Path:
    """A few clips of the samples: three for training, one that nobody is in, and four that are held out."""
    rows = read_index(ROOT / "data_samples" / "index.jsonl")
    people = [row for row in rows if row.identity is not None]
    chosen = [row for row in people if row.split == "train"][:3]
    chosen += [row for row in rows if row.identity is None]
    return write_index(folder / "index.jsonl", chosen + [row for row in people if row.split == "heldout"][:4])


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with one run folder per notebook."""
    folder = tmp_path_factory.mktemp("report")
    overrides = OVERRIDES | {"data.index": str(small_index(folder))}
    options = [f"--override={name}={value}" for name, value in overrides.items()]
    environment = {**os.environ, "SEMREPA_CACHE": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    running = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "semrepa.headless", *(f"notebooks/{name}.ipynb" for name in share)),
                *("--run-dir", str(folder), *knobs, *options),
            ],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for share, knobs in zip(SHARES, KNOBS, strict=True)
    ]
    for process in running:
        output, _ = process.communicate(timeout=900)
        assert process.returncode == 0, output
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


def test_later_notebooks_take_what_earlier_ones_made(report):
    assert not (report / "07_generation" / "aligned").exists(), "07 has fine-tuned although 06 had"
    assert not (report / "08_evaluation" / "videos").exists(), "08 has made videos although 07 had"
