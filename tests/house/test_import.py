"""Importing has no side effects: nothing printed, written, downloaded or started."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "semrepa").rglob("*.py")
)

# Runs in a clean process; events are those of Python's audit hooks.
WATCH = """
import importlib, sys
root = sys.argv[1]
def watch(event, args):
    if event in ("socket.connect", "socket.getaddrinfo"):
        raise SystemExit(f"network: {args}")
    if event == "open" and str(args[0]).startswith(root) and set(args[1] or "") & set("wax+"):
        raise SystemExit(f"wrote {args[0]}")
sys.addaudithook(watch)
for name in sys.argv[2:]:
    importlib.import_module(name)
"""


def run(code, *args, cwd):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(cwd.parent)}
    command = [sys.executable, "-B", "-c", code, *args]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("module", ["semrepa", "semrepa.config", "semrepa.runtime"])
def test_light_modules_stay_light(module, tmp_path):
    code = (
        f"import sys, {module}; print(*{{'torch', 'diffusers', 'insightface', 'numpy'}} & sys.modules.keys())"
    )
    assert run(code, cwd=tmp_path).stdout.split() == []


@pytest.mark.slow
def test_importing_everything_leaves_no_trace(tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    done = run(WATCH, str(ROOT), *MODULES, cwd=empty)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == ""
    assert list(empty.iterdir()) == []
