"""A notebook that hangs must not hang the tests."""

import psutil
import pytest

from tests.headless.toys import STUBBORN, wait_for, write_notebook
from tests.notebooks.runners import finish, start


def test_a_notebook_that_hangs_is_shown_and_ended(tmp_path):
    started = "import pathlib\n(pathlib.Path(run_dir) / 'started').touch()"
    notebook = write_notebook(tmp_path / "stuck.ipynb", started, STUBBORN)
    process = start(tmp_path / "log", [str(notebook), "--run-dir", str(tmp_path / "run")])
    wait_for(tmp_path / "run" / "stuck" / "started")
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    assert len(family) >= 2, "the kernel"
    with pytest.raises(AssertionError, match=r"(?s)not done after 1 s.*line 5 in <module>"):
        finish({tmp_path / "log": process}, seconds=1)
    psutil.wait_procs(family, timeout=10)
    assert not any(member.is_running() and member.status() != "zombie" for member in family)
