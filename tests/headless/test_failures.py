"""Ways in which a run goes wrong: each has its own message and never counts as success."""

import json
import os
import subprocess
import sys

import pytest

from semrepa import headless
from semrepa.headless.__main__ import main
from tests.headless.toys import FINISH, write_notebook


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["-p", "stepz=3"], "did you mean steps?"),
        (["-p", "steps=many"], "parameter steps: got 'many' (str); expected a whole number"),
        (["-p", "steps=true"], "parameter steps: got True (bool); expected a whole number"),
        (["-p", "run_dir=here"], "expected the option --run-dir"),
        (["-p", "preset=full"], "expected the option --preset"),
        (["-o", "finetune.stepz=3"], "did you mean finetune.steps?"),
        (["-o", "finetune.steps=many"], "expected a whole number"),
        (["-o", "finetune.steps=-3"], "finetune.steps: got -3; expected at least"),
        (["-o", "finetune.steps=3", "-o", "finetune.steps=4"], "given twice"),
        (["-o", "finetune.steps"], "expected name=value"),
        (["--seed", "-1"], "seed: got -1; expected at least 0"),
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


def test_a_killed_kernel_is_no_success(tmp_path, capsys):
    killed = "import os, signal\nprint('the end', flush=True)\nos.kill(os.getpid(), signal.SIGKILL)"
    notebook = write_notebook(tmp_path / "one.ipynb", FINISH, killed)
    assert main([str(notebook), "--run-dir", str(tmp_path / "run")]) == 1
    assert "the kernel died, often for lack of memory" in capsys.readouterr().out
    page = (tmp_path / "run" / "one" / "one.html").read_text()
    assert "This run failed: the kernel died" in page, "papermill's own record says that all cells ran"
    (row,) = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert row["status"] == "failed"
    assert json.loads((tmp_path / "run" / "one" / "stage.json").read_text())["finished"] is False


def test_an_old_run_json_is_no_success(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text('{"status": "ok", "metrics": {}}')
    notebook = write_notebook(tmp_path / "silent.ipynb", "1 + 1")
    entry = headless.execute(notebook, tmp_path / "run", {})
    assert entry.status == "failed"
    assert "status is 'missing'; expected 'ok'" in entry.message


def test_a_folder_that_cannot_be_made_is_said_before_anything_starts(tmp_path, capsys):
    (tmp_path / "file").touch()
    notebook = write_notebook(tmp_path / "one.ipynb", FINISH)
    assert main([str(notebook), "--run-dir", str(tmp_path / "file" / "run")]) == 2
    assert "expected a folder that can be written (Not a directory)" in capsys.readouterr().err


def test_a_read_only_folder_is_said_before_anything_starts(tmp_path, capsys, small_disk):
    notebook = write_notebook(tmp_path / "one.ipynb", FINISH)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert main([str(notebook), "--run-dir", str(small_disk / "run")]) == 2
    message = capsys.readouterr().err
    assert "run_dir: got" in message
    assert "expected a folder that can be written (Read-only file system)" in message


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write everywhere")
def test_a_protected_folder_is_said_before_anything_starts(tmp_path, capsys):
    (tmp_path / "run").mkdir(mode=0o555)
    notebook = write_notebook(tmp_path / "one.ipynb", FINISH)
    assert main([str(notebook), "--run-dir", str(tmp_path / "run")]) == 2
    assert "expected a folder that can be written (Permission denied)" in capsys.readouterr().err


@pytest.fixture
def small_disk(tmp_path):
    """A disk of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command here")
    if done.returncode:
        pytest.skip(f"this user may not mount a small disk: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def fill(path):
    """Cells that write more than there is room for."""
    return f"import pathlib\n(pathlib.Path({path}) / 'big').write_bytes(bytes(4_000_000))"


def test_a_disk_that_fills_up_is_a_failure_with_a_page(tmp_path, small_disk, capsys):
    tidy = (
        "import pathlib\n"
        "big = pathlib.Path(run_dir) / 'big'\n"
        "try:\n"
        "    big.write_bytes(bytes(4_000_000))\n"
        "finally:\n"
        "    big.unlink()"
    )
    notebook = write_notebook(tmp_path / "one.ipynb", tidy, FINISH)
    assert main([str(notebook), "--run-dir", str(small_disk / "run")]) == 1
    assert "No space left on device" in capsys.readouterr().out
    assert "No space left on device" in (small_disk / "run" / "one" / "one.html").read_text()


def test_a_disk_without_room_for_the_page_is_a_failure_that_leaves_no_half_file(tmp_path, small_disk, capsys):
    notebook = write_notebook(tmp_path / "one.ipynb", fill("run_dir"), FINISH)
    assert main([str(notebook), "--run-dir", str(small_disk / "run")]) == 1
    told = capsys.readouterr().err
    assert "No space left on device" in told
    assert "--resume goes on from there" in told
    folder = small_disk / "run" / "one"
    assert {path.name for path in folder.iterdir()} <= {"big", "stage.json"}


def test_full_disks_without_permission_to_mount(tmp_path, capsys, monkeypatch):
    def full(path, data, **_):
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("semrepa.headless.execution.write_whole", full)
    notebook = write_notebook(tmp_path / "one.ipynb", FINISH)
    assert main([str(notebook), "--run-dir", str(tmp_path / "run")]) == 1
    assert "No space left on device" in capsys.readouterr().err


def test_plain_papermill_keeps_working(tmp_path):
    notebook, out = write_notebook(tmp_path / "one.ipynb", FINISH), tmp_path / "out.ipynb"
    command = [sys.executable, "-m", "papermill", str(notebook), str(out), "-p", "preset", "mini"]
    done = subprocess.run(
        [*command, "-p", "run_dir", str(tmp_path), "-p", "steps", "4"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run.json").read_text())["metrics"]["steps"] == 4
