"""Notebooks of a few lines, and runners for them."""

import os
import subprocess
import sys
import time
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[2]
PARAMETERS = 'preset = "mini"\nrun_dir = "runs/x"\nseed = 0\noverrides = {}\nsteps: int = None'
FINISH = (
    "import json, pathlib\n"
    "folder = pathlib.Path(run_dir)\n"
    'run = {"status": "ok", "metrics": {"steps": steps or 7, "psnr": 31.25}}\n'
    '(folder / "run.json").write_text(json.dumps(run))'
)
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
PICTURE = f"from IPython.display import display\ndisplay({{'image/png': '{PNG}'}}, raw=True)"
STUBBORN = (
    "import threading, time\n"
    "threading.Thread(target=time.sleep, args=(600,), name='helper', daemon=True).start()\n"
    "while True:\n"
    "    try:\n"
    "        time.sleep(600)\n"
    "    except KeyboardInterrupt:\n"
    "        print('no', flush=True)"
)


def write_notebook(path: Path, *cells: str, tagged: bool = True) -> Path:
    first = nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]} if tagged else {})
    body = [
        nbformat.v4.new_markdown_cell("# A title\n\nWhat is the **question**?\n\n[next](01_good.ipynb)"),
        first,
    ]
    notebook = nbformat.v4.new_notebook(cells=body + [nbformat.v4.new_code_cell(cell) for cell in cells])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)
    return path


def start_runner(folder, notebook, run_dir, *options):
    command = [sys.executable, "-m", "semrepa.headless", str(notebook), "--run-dir", str(run_dir), *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def wait_for(path, seconds=240):
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.1)
