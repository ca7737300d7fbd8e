"""Limits of time, and where a notebook stands when one is over."""

import time

import nbformat

from semrepa.headless.__main__ import main
from tests.headless.toys import STUBBORN, write_notebook


def test_a_kernel_that_hangs_is_stopped_and_says_where(tmp_path, capsys):
    notebook = write_notebook(tmp_path / "stuck.ipynb", "print('before', flush=True)", STUBBORN)
    run_dir, began = tmp_path / "run", time.monotonic()
    assert main([str(notebook), "--run-dir", str(run_dir), "--timeout", "0.3", "--grace", "1"]) == 1
    assert time.monotonic() - began < 60
    assert "took longer than its limit of 0.3 minutes" in capsys.readouterr().out
    stacks = (run_dir / "stuck" / "stacks.txt").read_text()
    kernel, runner = stacks.split("runner:")
    assert "line 5 in <module>" in kernel, "the line of the cell"
    assert kernel.count("Thread 0x") >= 2, "all threads"
    assert "in wait_for_reply" in runner or "asyncio" in runner
    assert "ipykernel_launcher" in kernel.split("threads:")[0], "the processes"
    cells = nbformat.read(run_dir / "stuck" / "stuck.ipynb", as_version=4).cells
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
    assert (tmp_path / "run" / "slow" / "saved").exists()
    assert "limit of 0.3 minutes" in capsys.readouterr().out
