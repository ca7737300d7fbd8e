"""A child that trains nothing: a small script that logs steps and ends as it is told."""

import json
import socket
import subprocess
import sys
import threading
from pathlib import Path

import psutil

from semrepa.runtime import write_json
from semrepa.training.child import LOG, MODULE, Child, heading
from semrepa.training.launch import attach

SCRIPT = """
import json, os, signal, sys, time
run_dir, steps, end = sys.argv[2], int(sys.argv[3]), sys.argv[4]
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))

def finish(status, code, error=""):
    outcome = {"status": status, "step": step, "exit_code": code, "error": error}
    with open(f"{run_dir}/draft", "w") as file:
        json.dump(outcome, file)
    os.replace(f"{run_dir}/draft", f"{run_dir}/outcome.json")
    sys.exit(code)

with open(f"{run_dir}/metrics.jsonl", "a") as log:
    for step in range(1, steps + 1):
        line = {"step": step, "loss": 1 / step, "parts": {"loss_diff": 1 / step}, "lr": 1.0, "grad_norm": 1.0,
                "seconds": 0.1, "samples": step, "eval": {}}
        print(json.dumps(line), file=log, flush=True)
        print("printed at step", step, flush=True)
        time.sleep(0.02)
        if stopped:
            finish("stopped", 75)
if end == "waits":
    for _ in range(3000):  # it goes by itself when its test fails
        time.sleep(0.02)
        if stopped:
            break
    finish("stopped", 75)
if end == "fails":
    finish("failed", 1, "FloatingPointError: got nan; expected a number")
if end == "dies":
    os.kill(os.getpid(), signal.SIGKILL)
finish("finished", 0)
"""


def stub(run_dir: Path, end: str, steps: int = 3) -> Child:
    """Start a child that logs some steps and then "finishes", "fails", "dies", or "waits" to be stopped."""
    run_dir.mkdir(parents=True, exist_ok=True)
    run_dir = run_dir.resolve()
    command = (sys.executable, "-c", SCRIPT, MODULE, str(run_dir), str(steps), end)
    with (run_dir / LOG).open("w") as log:
        log.write(heading(command))
        log.flush()
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    record = {
        "pid": process.pid,
        "started": psutil.Process(process.pid).create_time(),
        "host": socket.gethostname(),
        "command": command,
    }
    write_json(run_dir / "child.json", record)
    threading.Thread(target=process.wait, daemon=True).start()
    return attach(run_dir)


def rewrite(run_dir: Path, **changes: object) -> Child:
    """The child again, with other values in its record."""
    path = run_dir / "child.json"
    write_json(path, json.loads(path.read_text()) | changes)
    return attach(run_dir)
