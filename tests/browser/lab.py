"""JupyterLab in a browser, as a person uses it: open a notebook, run all cells, look, move a slider."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

ROOT = Path(__file__).parents[2]
SETTINGS = {
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},  # all cells are on the page
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
KERNEL = "window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.status"
RUN_ALL = """() => {
    window.ranAll = false;
    window.jupyterapp.commands.execute('notebook:run-all-cells').then(() => { window.ranAll = true; });
}"""
SHUT_DOWN = "window.jupyterapp?.shell?.currentWidget?.sessionContext?.shutdown()"
OUTPUTS = """() => {
    const cells = window.jupyterapp.shell.currentWidget.content.model.cells, found = [];
    for (let k = 0; k < cells.length; k++) {
        const cell = cells.get(k);
        found.push(cell.type === 'code' ? cell.outputs.toJSON() : []);
    }
    return found;
}"""


def copy_notebook(name: str, folder: Path, parameters: Mapping[str, Any]) -> None:
    """Put a notebook with other parameters where the lab finds it."""
    notebook = load_notebook_node(str(ROOT / "notebooks" / f"{name}.ipynb"))
    nbformat.write(parameterize_notebook(notebook, dict(parameters)), folder / f"{name}.ipynb")


@contextmanager
def server(folder: Path, **environment: str) -> Iterator[str]:
    """Give the address of a JupyterLab that shows a folder."""
    for name, values in SETTINGS.items():
        path = folder / "settings" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    log = folder / "lab.log"
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=0"),
        *(
            "--IdentityProvider.token=",
            "--LabApp.expose_app_in_browser=True",
            f"--ServerApp.root_dir={folder}",
        ),
    ]
    places = {
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "PYTHONPATH": str(ROOT),
    }
    with log.open("w") as file:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **places, **environment}, stdout=file, stderr=file
        )
    try:
        yield _address(log, process)
    finally:
        process.terminate()
        process.wait(60)


def _address(log: Path, process: subprocess.Popen) -> str:
    for _ in range(240):
        if found := re.search(r"http://127\.0\.0\.1:\d+/", log.read_text()):
            return found[0]
        assert process.poll() is None, log.read_text()
        time.sleep(0.5)
    raise AssertionError(f"no address after two minutes:\n{log.read_text()}")


def open_notebook(page, address: str, name: str, *, seconds: float) -> None:
    """Open a notebook and wait for its kernel."""
    page.goto(f"{address}lab/tree/{name}.ipynb?reset")  # no tab of an earlier notebook
    page.wait_for_function(f"{KERNEL} === 'idle'", timeout=1000 * seconds)
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=1000 * seconds)


def run_all(page, *, seconds: float, look: float = 1.0) -> Iterator[list[list[dict]]]:
    """Run all cells; give the outputs of each cell every now and then, and once more at the end."""
    page.evaluate(RUN_ALL)
    deadline = time.monotonic() + seconds
    while not page.evaluate("window.ranAll"):
        assert time.monotonic() < deadline, f"not done after {seconds} s"
        page.wait_for_timeout(1000 * look)
        yield page.evaluate(OUTPUTS)
    yield page.evaluate(OUTPUTS)


def errors(outputs: list[list[dict]]) -> list[str]:
    """What went wrong in a notebook."""
    found = [output for cell in outputs for output in cell if output["output_type"] == "error"]
    return [f"{output['ename']}: {output['evalue']}" for output in found]


def pictures(outputs: list[dict]) -> list[str]:
    """The PNG pictures of a cell."""
    data = [output.get("data", {}).get("image/png") for output in outputs]
    return ["".join(picture) for picture in data if picture]
