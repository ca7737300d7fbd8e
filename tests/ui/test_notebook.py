"""The live plot in real kernels: what the saved notebook shows while a run goes on, and when it has ended."""

import base64
import json
import time
from pathlib import Path

import nbformat
import papermill
import pytest
from nbclient import NotebookClient
from training.stub import stub

from semrepa.ui.show import PLOTLY

STREAM = """
import json
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

from semrepa.ui import live as module
from semrepa.ui.show import is_headless

module._Plot.every = 0.0
seen = []

def steps():
    for step in range(1, 1001):
        line = {"step": step, "loss": 1 / step, "parts": {"loss_id": 1 / step}}
        with Path(run, "metrics.jsonl").open("a") as log:
            print(json.dumps(line), file=log)
        yield SimpleNamespace(step=step)
        with suppress(json.JSONDecodeError):  # it is being written
            data = [output["data"] for output in json.loads(Path(saved).read_text())["cells"][-1]["outputs"]]
            seen.extend("".join(content["text/plain"]) for content in data if "image/png" in content)
        if seen:
            return

logs = module.live(steps(), run, title="Identity", total=1000)
with Path(run, "seen.json").open("w") as file:
    json.dump([is_headless(), seen, logs[-1].step], file)
"""
"""A training that ends as soon as the notebook on the disk shows a picture of it."""

KERNELSPEC = {"name": "python3", "display_name": "Python 3", "language": "python"}


def new_notebook(*cells):
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    made.metadata.kernelspec = KERNELSPEC
    return made


def pictures(cell):
    return [output for output in cell.outputs if "image/png" in output.get("data", {})]


@pytest.fixture(autouse=True)
def kernels(monkeypatch):
    """Kernels find this library, and no runner has said whether anybody watches."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.delenv("SEMREPA_HEADLESS", raising=False)


@pytest.fixture
def watched(tmp_path):
    """A notebook that plain papermill has executed."""
    saved = tmp_path / "saved.ipynb"
    made = new_notebook(f"run, saved = {str(tmp_path)!r}, {str(saved)!r}", STREAM)
    nbformat.write(made, tmp_path / "live.ipynb")
    papermill.execute_notebook(
        tmp_path / "live.ipynb", saved, autosave_cell_every=0.2, progress_bar=False, cwd=str(tmp_path)
    )
    return tmp_path


def test_a_partly_finished_notebook_on_the_disk_shows_the_picture_so_far(watched):
    headless, seen, last = json.loads((watched / "seen.json").read_text())
    assert headless, "papermill takes no questions"
    assert len(seen) == 1
    assert seen[0].startswith("Identity step ")
    executed = nbformat.read(watched / "saved.ipynb", as_version=4)
    assert "widgets" not in executed.metadata
    (output,) = executed.cells[-1].outputs
    assert base64.b64decode(output.data["image/png"]).startswith(b"\x89PNG")
    assert PLOTLY in output.data
    assert output.data["text/plain"].startswith(f"Identity done: step {last} of 1000")


def test_a_panel_returns_at_once_and_its_thread_draws_into_its_cell(tmp_path):
    run = tmp_path / "run"
    made = new_notebook(
        "import threading\nfrom semrepa.ui.train import watch",
        f"watch({str(run)!r}, title='Aligned')",
        "print('the kernel is free')",
        "for t in threading.enumerate():\n    if '_follow' in t.name:\n        t.join(60)",
    )
    client = NotebookClient(made, timeout=120, resources={"metadata": {"path": str(tmp_path)}})
    with client.setup_kernel():
        client.kc.allow_stdin = True  # as JupyterLab does
        client.execute_cell(made.cells[0], 0)
        child = stub(run, "waits")
        for place in (1, 2):
            client.execute_cell(made.cells[place], place)
        assert child.status == "running", "the cell has waited for the training"
        for _ in range(600):
            if child.step == 3:
                break
            time.sleep(0.1)
        child.stop()
        client.execute_cell(made.cells[3], 3)
    panel, picture = made.cells[1].outputs
    assert "buttons while its kernel lives; watch(" in panel.data["text/plain"]
    assert made.cells[2].outputs[0].text == "the kernel is free\n"
    assert pictures(made.cells[1]) == [picture]
    assert "stopped: step 3" in picture.data["text/plain"]
    assert PLOTLY in picture.data
    assert sum(len(pictures(cell)) for cell in made.cells) == 1
