"""Train in a child process that outlives the notebook which started it, and find it again by its run folder.

child = launch("finetune", cfg, store.folder, "runs/a")
for log in child.follow(): ...
attach("runs/a").stop()

The child is `accelerate launch -m semrepa.training` in a session of its own, so that neither Ctrl-C in the
notebook nor the end of its kernel reaches it. In the run folder it leaves `child.json` (which process),
`train.log` (what it prints), `metrics.jsonl` (its steps) and, when it ends, `outcome.json`.
"""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import psutil

from semrepa.config import Config
from semrepa.data.index import ClipRow, write_index
from semrepa.runtime import pick_device, write_json
from semrepa.training.child import LAUNCHER, LOG, MODULE, Child, Stage, heading
from semrepa.training.outcome import OUTCOME

CHILD = "child.json"

SAVING_SECONDS = 1800
"""Time that torchrun gives its processes to save when it is told to stop; its own default is 30 s."""


def launch(
    stage: Stage,
    cfg: Config,
    store: Path | str,
    run_dir: Path | str,
    *,
    rows: Sequence[ClipRow] | None = None,
    fresh: bool = False,
) -> Child:
    """Start a training in processes of its own.

    Args:
        stage: what is trained.
        cfg: config of the run; `cfg.launch` says on how many processes.
        store: folder of the prepared features.
        run_dir: run folder; made where missing.
        rows: clips, with their split; None: those of the config's index.
        fresh: start anew even where a checkpoint is.

    Returns:
        The child, which may not have begun to train.

    Raises:
        ValueError: a child still trains in this folder.
    """
    run_dir = Path(run_dir).resolve()
    release(run_dir)
    asked = run_dir / "launch"
    options = ["--config", cfg.save(asked / "config.json"), "--store", Path(store).resolve()]
    options += ["--index", write_index(asked / "index.jsonl", rows)] if rows is not None else []
    options += ["--run-dir", run_dir, *(["--fresh"] if fresh else [])]
    command = (*_launcher(cfg), "-m", MODULE, stage, *map(str, options))
    with (run_dir / LOG).open("ab") as log:
        log.write(heading(command).encode())
        log.flush()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=_environment(),
            start_new_session=True,
        )
    started = psutil.Process(process.pid).create_time()
    child = Child(
        run_dir=run_dir, pid=process.pid, started=started, host=socket.gethostname(), command=command
    )
    write_json(run_dir / CHILD, {name: value for name, value in asdict(child).items() if name != "run_dir"})
    threading.Thread(target=process.wait, daemon=True).start()  # collects it when it ends
    return child


def attach(run_dir: Path | str) -> Child:
    """Find the child of a run folder, whether it runs, has ended or has died.

    Args:
        run_dir: run folder.

    Returns:
        The child.

    Raises:
        FileNotFoundError: nothing was launched into this folder.
    """
    run_dir = Path(run_dir).resolve()
    path = run_dir / CHILD
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: not found; expected a run folder that `launch` or a notebook with launch.where=child "
            "has trained in; a training inside a notebook has no child, look at its metrics.jsonl"
        )
    values = json.loads(path.read_text(encoding="utf-8"))
    return Child(run_dir=run_dir, **values | {"command": tuple(values["command"])})


def wait(run_dir: Path | str) -> None:
    """Wait until no child trains in a run folder. Ctrl-C ends the waiting, not the training.

    Args:
        run_dir: run folder; one whose training ran in this process is ready at once.

    Raises:
        NotFinishedError: the child failed, was stopped or died; with the end of its log.
    """
    if (Path(run_dir) / CHILD).is_file():
        attach(run_dir).wait()


def release(run_dir: Path | str) -> None:
    """Make a run folder free for a new training: forget a child that has ended, refuse while one trains.

    Args:
        run_dir: run folder; made where missing.

    Raises:
        ValueError: a child still trains in it.
    """
    run_dir = Path(run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    if (run_dir / CHILD).is_file():
        child = attach(run_dir)
        if child.status in ("running", "elsewhere"):
            raise ValueError(
                f"run_dir: got {run_dir}, where a training is {child.describe()}; expected a folder where "
                "none runs; attach(run_dir) follows it, attach(run_dir).stop() saves and ends it"
            )
    for name in (CHILD, OUTCOME):
        (run_dir / name).unlink(missing_ok=True)


def _launcher(cfg: Config) -> list[str]:
    """`accelerate launch` with its options."""
    import torch

    launcher = [sys.executable, "-m", LAUNCHER]
    on_cpu, count = pick_device().type == "cpu", cfg.launch.num_processes
    if cfg.launch.config_file is not None:
        options = ["--config_file", str(Path(cfg.launch.config_file).resolve())]
        return [*launcher, *options, *(["--num_processes", str(count)] if count else [])]
    count = count or max(1, torch.cuda.device_count())
    kind = ["--multi_gpu"] if count > 1 else ["--cpu"] if on_cpu else []  # on CPUs, too, that is torchrun
    options = ["--num_processes", count, "--num_machines", 1, "--main_process_port", 0]
    options += ["--mixed_precision", "no", "--dynamo_backend", "no"]
    options += ["--num_cpu_threads_per_process", torch.get_num_threads()] if on_cpu else []
    return [*launcher, *kind, *map(str, options)]


def _environment() -> dict[str, str]:
    """This environment, in which the child finds this library and has time to save."""
    found = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    usual = {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(SAVING_SECONDS)}
    return {**usual, **os.environ, "PYTHONPATH": os.pathsep.join(filter(None, found))}
