"""A pipeline that stopped, and goes on."""

import json
import signal
from contextlib import closing
from dataclasses import replace

import nbformat
import pytest

from semrepa.headless.__main__ import main
from tests.headless.toys import PICTURE, PNG, ROOT, start_runner, wait_for, write_notebook
from tests.training.test_loop import CONFIG, run, task

MAKE = (
    "import pathlib\n"
    "from semrepa.runtime import write_run_json\n"
    "folder = pathlib.Path(run_dir)\n"
    "(folder / 'made.txt').write_text('made 1')\n"
    "write_run_json(folder, status='ok', artefacts=[folder / 'made.txt'])"
)
TAKE = (
    "from semrepa.runtime import write_run_json\n"
    "import pathlib\n"
    "folder = pathlib.Path(run_dir)\n"
    "text = (folder.parent / '00_make' / 'made.txt').read_text()\n"
    "write_run_json(folder, status='ok', metrics={'number': int(text[-1])}, upstream=['00_make'])"
)
TRAIN = (
    "import dataclasses, pathlib, time\n"
    "from contextlib import closing\n"
    "from semrepa.runtime import write_run_json\n"
    "from tests.training.test_loop import CONFIG, run, task\n"
    "folder, made = pathlib.Path(run_dir), task()\n"
    "resume = overrides.get('finetune.resume', False)\n"
    "config = dataclasses.replace(CONFIG, steps=20, resume=resume)\n"
    "with closing(run(folder / 'line', made, config)) as stream:\n"
    "    for log in stream:\n"
    "        (folder / f'step {log.step}').write_text(f'resume={resume}')\n"
    "        time.sleep(0.2)\n"
    "metrics = {'weights': made.objective.map.weight.flatten().tolist()}\n"
    "write_run_json(folder, status='ok', metrics=metrics)"
)


@pytest.fixture
def pipeline(tmp_path, monkeypatch):
    """Folder with two notebooks, of which the second takes what the first makes."""
    (tmp_path / "notebooks").mkdir()
    write_notebook(tmp_path / "notebooks" / "00_make.ipynb", PICTURE, MAKE)
    write_notebook(tmp_path / "notebooks" / "01_take.ipynb", TAKE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


def results(folder):
    return {row["name"]: row for row in json.loads((folder / "runs/x/summary.json").read_text())}


def test_only_what_no_longer_holds_runs_again(pipeline, capsys, caplog):
    command = ["--all", "--run-dir", "runs/x"]
    assert main(command) == 0
    first = results(pipeline)
    capsys.readouterr()

    assert main([*command, "--resume"]) == 0
    told = capsys.readouterr().out
    assert told.count("ok, kept") == 2
    again = results(pipeline)
    assert all(row["kept"] for row in again.values())
    assert [row["seconds"] for row in again.values()] == [row["seconds"] for row in first.values()]
    assert PNG in (pipeline / "runs/x/index.html").read_text(), "the cover is still there"

    assert (pipeline / "runs/x/index.html").read_text().count("s, of an earlier command") == 2

    (pipeline / "runs/x/00_make/made.txt").unlink()
    assert main([*command, "--resume"]) == 0
    assert [row["kept"] for row in results(pipeline).values()] == [False, True], "the same was made again"

    source = pipeline / "notebooks" / "00_make.ipynb"
    source.write_text(source.read_text().replace("made 1", "made 2"))
    assert main([*command, "--resume"]) == 0
    now = results(pipeline)
    assert [row["kept"] for row in now.values()] == [False, False]
    assert now["01_take"]["metrics"] == {"number": 2}
    assert "01_take runs anew: other upstream: 00_make" in caplog.text
    old = json.loads((pipeline / "runs/x/previous/01_take-1/run.json").read_text())
    assert old["metrics"] == {"number": 1}


def test_one_notebook_finds_what_another_command_made(pipeline):
    for name in ("00_make", "01_take"):
        assert main([f"notebooks/{name}.ipynb", "--run-dir", "runs/x"]) == 0
    assert json.loads((pipeline / "runs/x/01_take/run.json").read_text())["metrics"] == {"number": 1}


def test_stopped_in_a_training_it_goes_on_to_the_same_numbers(tmp_path, monkeypatch):
    made = task()
    with closing(run(tmp_path / "undisturbed", made, replace(CONFIG, steps=20))) as stream:
        list(stream)
    expected = made.objective.map.weight.flatten().tolist()

    notebook, run_dir = write_notebook(tmp_path / "06_train.ipynb", TRAIN), tmp_path / "run"
    process = start_runner(tmp_path, notebook, run_dir)
    wait_for(run_dir / "06_train" / "step 3")
    process.send_signal(signal.SIGTERM)
    _, message = process.communicate(timeout=120)
    assert process.returncode == 143, message
    assert "--resume goes on from there" in message
    assert not (run_dir / "06_train" / "run.json").exists()
    page = (run_dir / "06_train" / "06_train.html").read_text()
    assert "This run failed: stopped before its end" in page
    assert (run_dir / "06_train" / "line" / "checkpoints").is_dir(), "saved on the way out"
    assert not (run_dir / "06_train" / "step 20").exists()

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    assert main([str(notebook), "--run-dir", str(run_dir), "--resume"]) == 0
    assert (run_dir / "06_train" / "step 1").read_text() == "resume=False", "it was not repeated"
    assert (run_dir / "06_train" / "step 20").read_text() == "resume=True"
    metrics = json.loads((run_dir / "06_train" / "run.json").read_text())["metrics"]
    assert metrics["weights"] == expected
    executed = nbformat.read(run_dir / "06_train" / "06_train.ipynb", as_version=4)
    assert "This run failed" not in str(executed.cells[0])
