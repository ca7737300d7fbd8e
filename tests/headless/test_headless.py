"""The notebook runner, driven with notebooks of a few lines."""

import html
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from semrepa import headless
from semrepa.headless.__main__ import main

ROOT = Path(__file__).parents[2]
PARAMETERS = 'preset = "mini"\nrun_dir = "runs/x"\nseed = 0\noverrides = {}\nsteps = None'
FINISH = (
    "import json, pathlib\n"
    "folder = pathlib.Path(run_dir)\n"
    'run = {"status": "ok", "metrics": {"steps": steps or 7, "psnr": 31.25}}\n'
    '(folder / "run.json").write_text(json.dumps(run))'
)
PICTURE = (
    "from IPython.display import display\n"
    "from matplotlib.figure import Figure\n"
    "display(Figure(figsize=(1, 1)))"
)  # fmt: skip


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


def test_good_notebook_leaves_notebook_page_and_report(tmp_path, capsys):
    notebook = write_notebook(
        tmp_path / "one.ipynb", PICTURE, "for i in range(9):\n    print(i, flush=True)", FINISH
    )
    run_dir = tmp_path / "run"
    code = main([str(notebook), "--run-dir", str(run_dir), "-p", "steps=3", "--seed", "5"])
    assert code == 0
    assert "psnr 31.25" in capsys.readouterr().out
    assert json.loads((run_dir / "run.json").read_text())["metrics"]["steps"] == 3
    executed = nbformat.read(run_dir / "one.ipynb", as_version=4)
    assert "widgets" not in executed.metadata
    outputs = [output for cell in executed.cells if cell.cell_type == "code" for output in cell.outputs]
    assert [output.text for output in outputs if output.output_type == "stream"] == [
        "0\n1\n2\n3\n4\n5\n6\n7\n8\n"
    ], "prints are joined into one output"
    page = (run_dir / "one.html").read_text()
    assert "data:image/png;base64," in page
    assert 'src="http' not in page
    assert 'href="../01_good/01_good.html"' in page, "links lead to pages of the report"
    assert "cdnjs" not in page
    assert "unpkg" not in page


def test_all_runs_every_notebook_and_goes_on_after_a_failure(tmp_path, monkeypatch, capsys):
    (tmp_path / "notebooks").mkdir()
    write_notebook(
        tmp_path / "notebooks" / "00_bad.ipynb", "raise FileNotFoundError('got a.mp4; expected a video')"
    )
    write_notebook(tmp_path / "notebooks" / "01_good.ipynb", PICTURE, FINISH)
    monkeypatch.chdir(tmp_path)
    assert main(["--all", "--run-dir", "runs/demo"]) == 1
    rows = json.loads(Path("runs/demo/summary.json").read_text())
    assert [(row["name"], row["status"]) for row in rows] == [("00_bad", "failed"), ("01_good", "ok")]
    assert "FileNotFoundError: got a.mp4; expected a video" in rows[0]["message"]
    index = Path("runs/demo/index.html").read_text()
    assert "href='01_good/01_good.html'" in index
    assert "A title" in index
    assert "What is the question?" in index
    assert (Path("runs/demo/01_good/01_good.html")).is_file()
    assert "00_bad" in capsys.readouterr().out


def test_no_fresh_run_json_is_a_failure_even_when_all_cells_ran(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text('{"status": "ok", "metrics": {}}')
    notebook = write_notebook(tmp_path / "silent.ipynb", "1 + 1")
    entry = headless.execute(notebook, tmp_path / "run", {})
    assert entry.status == "failed"
    assert "status is 'missing'; expected 'ok'" in entry.message


def test_full_without_weights_stops_at_the_setup_cell_with_the_whole_list(tmp_path, monkeypatch, capsys):
    for name in [name for name in os.environ if name.startswith(("SEMREPA_", "HF_HOME", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("SEMREPA_FACE_PACK", str(tmp_path / "no_pack"))
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    run_dir = tmp_path / "run"
    notebook = ROOT / "notebooks" / "00_start_here.ipynb"
    assert main([str(notebook), "--preset", "full", "--run-dir", str(run_dir)]) == 1
    page = html.unescape((run_dir / "00_start_here.html").read_text())
    executed = nbformat.read(run_dir / "00_start_here.ipynb", as_version=4)
    (error,) = [
        output
        for cell in executed.cells
        for output in cell.get("outputs", [])
        if output.output_type == "error"
    ]
    for text in (capsys.readouterr().out, page, error.evalue, "".join(error.traceback)):
        assert "6 of 6 missing" in text
        for field in ("model", "depth", "people", "structure", "identity"):
            assert f"{field}.weights" in text
        assert f"{tmp_path / 'no_pack'}: not there" in text
        assert "hf download THUDM/CogVideoX-5b-I2V" in text
        assert "python -m semrepa.weights --preset full --download" in text
        assert "Traceback" not in text
    assert not (run_dir / "run.json").exists()


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["-p", "stepz=3"], "did you mean steps?"),
        (["-o", "finetune.stepz=3"], "did you mean finetune.steps?"),
        (["-o", "finetune.steps=many"], "expected a whole number"),
        (["-o", "finetune.steps"], "expected name=value"),
        (["--preset", "tiny"], "expected one of mini, full"),
    ],
)
def test_wrong_command_line_stops_before_anything_starts(tmp_path, capsys, arguments, hint):
    notebook = write_notebook(tmp_path / "one.ipynb", FINISH)
    assert main([str(notebook), "--run-dir", str(tmp_path / "run"), *arguments]) == 2
    message = capsys.readouterr().err
    assert hint in message
    assert len(message.splitlines()) <= 5
    assert not (tmp_path / "run").exists()


def test_missing_notebook_and_missing_tag(tmp_path, capsys):
    assert main([str(tmp_path / "none.ipynb")]) == 2
    assert "which is not there" in capsys.readouterr().err
    untagged = write_notebook(tmp_path / "untagged.ipynb", FINISH, tagged=False)
    assert main([str(untagged)]) == 2
    assert "tagged 'parameters'" in capsys.readouterr().err


def start_runner(folder, notebook, run_dir, *options):
    command = [sys.executable, "-m", "semrepa.headless", str(notebook), "--run-dir", str(run_dir), *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def wait_for(path, seconds=60):
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.1)


def test_stop_signal_gives_the_notebook_time_to_save(tmp_path):
    slow = (
        "import pathlib, time\n"
        "folder = pathlib.Path(run_dir)\n"
        "try:\n"
        "    (folder / 'started').touch()\n"
        "    time.sleep(60)\n"
        "finally:\n"
        "    time.sleep(3)\n"
        "    (folder / 'saved').touch()"
    )
    notebook = write_notebook(tmp_path / "slow.ipynb", slow)
    run_dir = tmp_path / "run"
    process = start_runner(tmp_path, notebook, run_dir)
    wait_for(run_dir / "started")
    process.send_signal(signal.SIGTERM)
    _, message = process.communicate(timeout=60)
    assert process.returncode == 143, message
    assert (run_dir / "saved").exists(), "three seconds of saving must be granted"
    assert "stopped" in message
    assert "headless.py" not in message, "no traceback of ours"


STUBBORN = (
    "import threading, time\n"
    "threading.Thread(target=time.sleep, args=(600,), name='helper', daemon=True).start()\n"
    "while True:\n"
    "    try:\n"
    "        time.sleep(600)\n"
    "    except KeyboardInterrupt:\n"
    "        print('no', flush=True)"
)


def test_a_kernel_that_hangs_is_stopped_and_says_where(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("semrepa.headless.execution.GRACE", 1)
    notebook = write_notebook(tmp_path / "stuck.ipynb", "print('before', flush=True)", STUBBORN)
    run_dir, began = tmp_path / "run", time.monotonic()
    assert main([str(notebook), "--run-dir", str(run_dir), "--timeout", "0.3"]) == 1
    assert time.monotonic() - began < 60
    assert "took longer than its limit of 0.3 minutes" in capsys.readouterr().out
    stacks = (run_dir / "stacks.txt").read_text()
    kernel, runner = stacks.split("runner:")
    assert "line 5 in <module>" in kernel, "the line of the cell"
    assert kernel.count("Thread 0x") >= 2, "all threads"
    assert "in wait_for_reply" in runner or "asyncio" in runner
    assert "ipykernel_launcher" in kernel.split("threads:")[0], "the processes"
    cells = nbformat.read(run_dir / "stuck.ipynb", as_version=4).cells
    assert any("before" in str(cell.get("outputs")) for cell in cells)


def test_a_cell_that_is_only_slow_is_interrupted_at_the_limit(tmp_path, capsys):
    saving = (
        "import pathlib, time\n"
        "try:\n"
        "    time.sleep(600)\n"
        "finally:\n"
        "    (pathlib.Path(run_dir) / 'saved').touch()"
    )
    notebook = write_notebook(tmp_path / "slow.ipynb", saving)
    assert main([str(notebook), "--run-dir", str(tmp_path / "run"), "--timeout", "0.3"]) == 1
    assert (tmp_path / "run" / "saved").exists()
    assert "limit of 0.3 minutes" in capsys.readouterr().out
