"""The commands of docs/HEADLESS.md: they parse, and all their options exist."""

import os
import re
import shlex
import signal
import subprocess
import time

import pytest

from semrepa.config import override, preset
from semrepa.headless.__main__ import options
from tests.headless.toys import ROOT, wait_for

TEXT = (ROOT / "docs" / "HEADLESS.md").read_text()
BLOCKS = re.findall(r"^```bash\n(.*?)^```", TEXT, flags=re.DOTALL | re.MULTILINE)
(JOB,) = [block for block in BLOCKS if block.startswith("#!")]
RUNNER = """#!/bin/bash
echo "$@" >> arguments
trap 'sleep 1; touch saved; exit 143' TERM
touch started
while true; do sleep 0.1; done
"""


def commands():
    """Every command line of the runner in the file."""
    lines = "\n".join(BLOCKS).replace("\\\n", " ").splitlines()
    for line in lines:
        if "-m semrepa.headless" in line:
            words = shlex.split(line, comments=True)
            first = words.index("semrepa.headless") + 1
            end = next((k for k, word in enumerate(words) if k > first and word in (">", "&")), None)
            yield words[first:end]


@pytest.mark.parametrize("block", BLOCKS)
def test_bash_understands_it(block):
    done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_every_option_exists(words):
    chosen = options().parse_args(words)
    override(preset(chosen.preset), chosen.override)
    assert chosen.all or all((ROOT / path).is_file() for path in chosen.notebooks)


def test_options_named_in_the_text_exist():
    known = {option for action in options()._actions for option in action.option_strings}
    prose = re.sub(r"^```.*?^```", "", TEXT, flags=re.DOTALL | re.MULTILINE)
    named = set(re.findall(r"`(--?[a-z-]+)", prose))
    assert named - {"-y"} <= known, "-y is papermill's"
    assert len(named) >= 5


def test_the_job_saves_and_goes_back_into_the_queue(tmp_path):
    stand_ins = tmp_path / "bin"
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").touch()
    stand_ins.mkdir()
    for name, text in {"python": RUNNER, "scontrol": "#!/bin/bash\necho $@ > queue\n"}.items():
        (stand_ins / name).write_text(text)
        (stand_ins / name).chmod(0o755)
    (tmp_path / "full.sh").write_text(JOB)
    environment = {**os.environ, "PATH": f"{stand_ins}:{os.environ['PATH']}", "SLURM_JOB_ID": "17"}
    job = subprocess.Popen(["bash", "full.sh"], cwd=tmp_path, env=environment)
    wait_for(tmp_path / "started")
    time.sleep(0.2)
    job.send_signal(signal.SIGTERM)
    assert job.wait(timeout=30) == 143
    assert (tmp_path / "saved").exists(), "the job has waited for the runner"
    assert (tmp_path / "queue").read_text() == "requeue 17\n"
    assert "--resume" in (tmp_path / "arguments").read_text()
