"""The notebook runner, driven with notebooks of a few lines."""

import html
import json
import os
import signal
from pathlib import Path

import nbformat

from semrepa.headless.__main__ import main
from tests.headless.toys import FINISH, PICTURE, PNG, ROOT, start_runner, wait_for, write_notebook


def test_good_notebook_leaves_notebook_page_and_report(tmp_path, capsys):
    notebook = write_notebook(
        tmp_path / "one.ipynb", PICTURE, "for i in range(9):\n    print(i, flush=True)", FINISH
    )
    run_dir = tmp_path / "run"
    code = main([str(notebook), "--run-dir", str(run_dir), "-p", "steps=3", "--seed", "5"])
    assert code == 0
    assert "psnr 31.25" in capsys.readouterr().out
    assert json.loads((run_dir / "one" / "run.json").read_text())["metrics"]["steps"] == 3
    executed = nbformat.read(run_dir / "one" / "one.ipynb", as_version=4)
    assert "widgets" not in executed.metadata
    outputs = [output for cell in executed.cells if cell.cell_type == "code" for output in cell.outputs]
    assert [output.text for output in outputs if output.output_type == "stream"] == [
        "0\n1\n2\n3\n4\n5\n6\n7\n8\n"
    ], "prints are joined into one output"
    page = (run_dir / "one" / "one.html").read_text()
    assert f"data:image/png;base64,{PNG}" in page
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
    page = html.unescape((run_dir / "00_start_here" / "00_start_here.html").read_text())
    executed = nbformat.read(run_dir / "00_start_here" / "00_start_here.ipynb", as_version=4)
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
    assert not (run_dir / "00_start_here" / "run.json").exists()


def test_missing_notebook_and_missing_tag(tmp_path, capsys):
    assert main([str(tmp_path / "none.ipynb")]) == 2
    assert "which is not there" in capsys.readouterr().err
    untagged = write_notebook(tmp_path / "untagged.ipynb", FINISH, tagged=False)
    assert main([str(untagged)]) == 2
    assert "tagged 'parameters'" in capsys.readouterr().err


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
    wait_for(run_dir / "slow" / "started")
    process.send_signal(signal.SIGTERM)
    _, message = process.communicate(timeout=120)
    assert process.returncode == 143, message
    assert (run_dir / "slow" / "saved").exists(), "three seconds of saving must be granted"
    assert "stopped" in message
    assert "semrepa/headless" not in message, "no traceback of ours"
