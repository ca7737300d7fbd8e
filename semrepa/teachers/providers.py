"""Where ONNX models run: the execution providers asked for, those that really work, and models that do not.

ONNX Runtime falls back to the CPU without a word that anyone reads. Here the fallback is always reported.
"""

import logging
from collections.abc import Sequence

import onnxruntime
import torch
from onnxruntime.capi import onnxruntime_pybind11_state as state

log = logging.getLogger(__name__)

ORT_ERRORS: tuple[type[Exception], ...] = (
    state.EPFail,
    state.Fail,
    state.InvalidArgument,
    state.InvalidGraph,
    state.InvalidProtobuf,
    state.NoSuchFile,
    state.NotImplemented,
    state.RuntimeException,
)
"""What ONNX Runtime raises for a model that it cannot load or run; they share no class of their own."""

GPU_REMEDY = (
    "for an NVIDIA GPU run `pip uninstall -y onnxruntime onnxruntime-gpu`, then `pip install "
    "onnxruntime-gpu` (both own the same folder, and reinstalling insightface brings the CPU one back)"
)


def choose_providers(wanted: Sequence[str] | None) -> list[str] | None:
    """Keep the execution providers that this ONNX Runtime has, and warn about the others.

    Args:
        wanted: names in order of preference; None leaves the choice to the library.

    Returns:
        The available ones in the same order, or None.

    Raises:
        ValueError: If a name is unknown, or none of them is available.
    """
    if wanted is None:
        return None
    available = onnxruntime.get_available_providers()
    known = {*onnxruntime.get_all_providers(), *available}
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ValueError(f"providers: got {unknown}; expected some of {available}; check the spelling")
    usable = [name for name in wanted if name in available]
    if not usable:
        raise ValueError(
            f"providers: got {list(wanted)}; expected at least one of {available}; "
            f"add 'CPUExecutionProvider', or {GPU_REMEDY}"
        )
    _warn(wanted, usable)
    return usable


def running_on(usable: Sequence[str] | None, *used: Sequence[str]) -> tuple[str, ...]:
    """The execution providers that all sessions use; warns when one that should work was dropped.

    Args:
        usable: what was asked for and is installed, from `choose_providers`.
        used: what `get_providers` of each session says.

    Returns:
        Names in order of preference.
    """
    first, *others = used
    running = tuple(name for name in first if all(name in other for other in others))
    _warn(usable or (), running)
    return running


def _warn(wanted: Sequence[str], usable: Sequence[str]) -> None:
    missing = [name for name in wanted if name not in usable]
    if missing:
        log.warning(
            "onnxruntime cannot use %s and runs on %s, which may be slow; %s",
            ", ".join(missing),
            ", ".join(usable),
            GPU_REMEDY,
        )


def session_options() -> onnxruntime.SessionOptions:
    """Options of every session: as many threads as torch uses.

    Returns:
        New options.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return options
