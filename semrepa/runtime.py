"""What every run needs: one seed, one device, one rule for number types, a run folder and its record.

Torch is imported inside the functions, so that reading a config or a report stays instant.
"""

import dataclasses
import importlib.metadata
import json
import logging
import math
import os
import platform
import random
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import semrepa
from semrepa.files import write_whole
from semrepa.provenance import Provenance, run_kind, sha256_of

if TYPE_CHECKING:
    import torch

_PACKAGES = ("numpy", "torch", "torchvision", "diffusers", "transformers", "insightface", "onnxruntime")


def seed_everything(seed: int) -> None:
    """Seed the generators of Python, numpy and torch (all devices).

    Args:
        seed: 0 to 2**32 - 1.

    Raises:
        ValueError: outside that range.
    """
    import numpy as np
    import torch

    if not 0 <= seed < 2**32:
        raise ValueError(f"seed: got {seed}; expected 0 to {2**32 - 1}")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def pick_device() -> "torch.device":
    """The GPU if there is one, else the CPU; `CUDA_VISIBLE_DEVICES` chooses among several."""
    import torch

    return torch.device("cuda" if torch.cuda.device_count() else "cpu")


def compute_dtype(
    device: "torch.device", wanted: Literal["auto", "float32", "bfloat16"] = "auto"
) -> "torch.dtype":
    """Type in which frozen weights are held.

    Args:
        device: where they run.
        wanted: "auto" takes bfloat16 on a GPU that has it and float32 elsewhere: trained weights and all loss
            maths stay float32, because the factor sqrt(1 - alpha-bar) is wrong by up to 100 % in bfloat16.

    Returns:
        The torch type.
    """
    import torch

    if wanted == "auto":
        return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    return getattr(torch, wanted)


def autocast(device: "torch.device") -> AbstractContextManager[Any]:
    """Context in which networks compute in bfloat16 where the device does so natively, else unchanged.

    Args:
        device: where the networks run.

    Returns:
        A context manager for forward passes.
    """
    import torch

    native = {"cuda": torch.cuda.is_bf16_supported, "cpu": _cpu_has_bf16}.get(device.type, lambda: False)
    return torch.autocast(device.type, dtype=torch.bfloat16) if native() else nullcontext()


@cache
def _cpu_has_bf16() -> bool:
    import torch

    # Emulated bfloat16 is several times slower than float32. torch has no public question for this.
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def versions() -> dict[str, str | None]:
    """Versions of Python and the packages behind the numbers, and the commit of a source checkout.

    Returns:
        Version by name; None for a package that is not installed, or when this is no git checkout.
    """
    found: dict[str, str | None] = {
        "semrepa": semrepa.__version__,
        "commit": _commit(),
        "python": platform.python_version(),
    }
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def machine() -> dict[str, str | int | float | None]:
    """What this process runs on, to judge times by.

    Returns:
        `kind` ("cpu" or "cuda"), `device` (name of the GPU), `cores`, and `load`: processes that waited for a
        core in the last minute, on average; None where the system does not tell.
    """
    import torch

    kind = pick_device().type
    return {
        "kind": kind,
        "device": torch.cuda.get_device_name() if kind == "cuda" else None,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
    }


def _commit() -> str | None:
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(root), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def write_json(path: str | Path, value: object) -> Path:
    """Write JSON so that a reader never sees half a file.

    Args:
        path: file to make or replace; its folder is made.
        value: JSON values, and also paths, tuples, dataclasses and numpy or torch scalars. Numbers that are
            not finite are written as text ("nan", "inf"), since JSON has none.

    Returns:
        The path.

    Raises:
        TypeError: a value that has no JSON form.
    """
    path = Path(path)
    write_whole(path, (json.dumps(_plain(value), indent=2) + "\n").encode(), durable=False)
    return path


def _plain(value: Any) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Path):
        return str(value)
    if (item := getattr(value, "item", None)) is not None:
        return _plain(item())
    raise TypeError(
        f"JSON: got {value!r} ({type(value).__name__}); expected numbers, texts, lists or dictionaries"
    )


class RunFolder:
    """Folder that takes everything one run writes. It is made, and tried for writing, at once.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: str | Path) -> None:
        """Make the folder, with its parents.

        Args:
            path: where the run writes.

        Raises:
            ValueError: the folder cannot be made or written.
        """
        self.path = Path(path)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=self.path).close()
        except OSError as error:
            reason = error.strerror or error
            raise ValueError(
                f"run_dir: got {path}; expected a folder that can be written ({reason})"
            ) from error

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def config_path(self) -> Path:
        """File with the resolved config of the run."""
        return self.path / "config.json"

    @contextmanager
    def log(self, name: str = "run") -> Iterator[Path]:
        """Within this context, append what the library logs (INFO and above) to `<name>.log`.

        Args:
            name: file name without suffix.

        Yields:
            The log file.
        """
        file = self.path / f"{name}.log"
        handler = logging.FileHandler(file, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logger = logging.getLogger("semrepa")
        level = logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            yield file
        finally:
            logger.setLevel(level)
            logger.removeHandler(handler)
            handler.close()


def write_run_json(
    run_dir: str | Path | RunFolder,
    *,
    status: Literal["ok", "stopped", "failed"],
    config: object = None,
    provenance: Iterable[Provenance] = (),
    metrics: Mapping[str, Any] | None = None,
    artefacts: Iterable[str | Path] = (),
    upstream: Iterable[str] = (),
) -> Path:
    """Write `run.json`, the record by which a run is judged.

    Args:
        run_dir: folder of the run.
        status: "ok" only when everything the run promises is there.
        config: the resolved config (a dataclass or a dictionary).
        provenance: every set of weights behind the metrics.
        metrics: final numbers by name.
        artefacts: files and folders the run made; hashed, and named relative to the run folder if inside.
        upstream: other runs of the same report whose results this one asked for, there or not.

    Returns:
        Path of `run.json`.

    Raises:
        FileNotFoundError: an artefact is not there.
    """
    folder, provenance = Path(run_dir), list(provenance)
    record = {
        "status": status,
        "kind": run_kind(provenance) if provenance else None,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "metrics": metrics or {},
        "provenance": provenance,
        "artefacts": {_inside(folder, Path(path)): sha256_of(path) for path in artefacts},
        "upstream": sorted(upstream),
        "versions": versions(),
        "machine": machine(),
        "config": config,
    }
    return write_json(folder / "run.json", record)


def _inside(folder: Path, path: Path) -> str:
    path, folder = path.resolve(), folder.resolve()
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)
