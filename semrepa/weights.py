"""Which weights a config rests on, where they lie, and what is missing: all at once, before a run starts."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import torch

from semrepa.config import Config
from semrepa.models.cogvideox import PARTS, CogVideoX, Part, load_cogvideox, local_folder
from semrepa.provenance import MINI_ASSETS, Provenance, mini_asset
from semrepa.runtime import compute_dtype, pick_device

Role = Literal["model", "depth", "face", "structure", "identity"]
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True, kw_only=True)
class Need:
    """One set of weights that a run needs."""

    role: Role
    """What it does in the run."""
    field: str
    """Dotted config field that points to it."""
    path: Path | None
    """Where it should be; None: nobody has said."""
    remedy: str
    """How to get it, with its licence."""

    @property
    def is_there(self) -> bool:
        """Whether the file or folder exists."""
        return self.path is not None and self.path.exists()


def check_weights(cfg: Config, roles: Iterable[Role] = ROLES) -> list[Provenance]:
    """Locate all weights of a run.

    Args:
        cfg: resolved config; fields left at None mean the shipped mini weights (in `full`: nothing).
        roles: what this run uses.

    Returns:
        The provenance of each set of weights, in the order of the roles.

    Raises:
        FileNotFoundError: some are missing; lists every one with its field, place, licence and way to get it.
    """
    exact = {"depth"} if cfg.depth.teacher == "exact" else set()
    needs = {role: _NEEDS[role](cfg) for role in roles if role not in exact}
    missing = [need for need in needs.values() if not need.is_there]
    if missing:
        listed = "".join(
            f"\n  {n.role}: {n.path or 'no path given'} ({n.field})\n    {n.remedy}" for n in missing
        )
        raise FileNotFoundError(
            f"weights for preset={cfg.preset!r}: {len(missing)} of {len(needs)} missing; get them and say "
            f"where they lie, for example overrides={{'{missing[0].field}': '/path/to/it'}}{listed}"
        )
    return [_EXACT if role in exact else _provenance(cfg, needs[role]) for role in roles]


def load_base(cfg: Config, parts: Sequence[Part] = PARTS, *, dtype: torch.dtype | None = None) -> CogVideoX:
    """Load the base model that a config names, or parts of it, onto the device of the run.

    Args:
        cfg: names the checkpoint and the precision.
        parts: which parts are needed.
        dtype: precision of the weights; None: as `cfg.model.dtype` says.

    Returns:
        The parts; the others are None.

    Raises:
        FileNotFoundError: the checkpoint or parts of it are not on this machine.
    """
    device, source = pick_device(), cfg.model.weights or mini_asset("cogvideox")
    dtype = dtype or compute_dtype(device, cfg.model.dtype)
    return load_cogvideox(source, parts=parts, device=device, dtype=dtype)


_EXACT = Provenance(name="depth", source="exact depth of the sample world", kind="mini")


def _provenance(cfg: Config, need: Need) -> Provenance:
    # What a user of mini points to was made in the sample world as well; only `full` makes numbers "real".
    return Provenance.of(need.role, need.path, kind="mini" if cfg.preset == "mini" else None)


def _model(cfg: Config) -> Need:
    source = cfg.model.weights
    path = (local_folder(source) or Path(source)) if source else _shipped(cfg, "cogvideox")
    return Need(
        role="model",
        field="model.weights",
        path=path,
        remedy="CogVideoX-5b-I2V (CogVideoX licence, free for research): hf download THUDM/CogVideoX-5b-I2V",
    )


def _depth(cfg: Config) -> Need:
    return Need(
        role="depth",
        field="depth.weights",
        path=Path(cfg.depth.weights) if cfg.depth.weights else None,
        remedy=f"video_depth_anything_{cfg.depth.variant}.pth (vits Apache-2.0; vitb, vitl CC-BY-NC-4.0): "
        "hf download depth-anything/Video-Depth-Anything-Large (or -Base, -Small)",
    )


def _face(cfg: Config) -> Need:
    return Need(
        role="face",
        field="face.pack",
        path=Path(cfg.face.pack) if cfg.face.pack else _shipped(cfg, "face"),
        remedy="a folder with scrfd_10g_bnkps.onnx of insightface's antelopev2 and arcface.onnx of Arc2Face "
        "(hf download FoivosPar/Arc2Face arcface.onnx); both for non-commercial research only",
    )


def _structure(cfg: Config) -> Need:
    shipped = _shipped(cfg, "structure_aligner") if cfg.structure.input == "clean" else None
    return Need(
        role="structure",
        field="structure.weights",
        path=Path(cfg.structure.weights) if cfg.structure.weights else shipped,
        remedy=f"train it: notebooks/03_structure_aligner.ipynb with structure.input={cfg.structure.input}",
    )


def _identity(cfg: Config) -> Need:
    name = "identity_aligner" if cfg.identity.use_depth else "identity_aligner_no_depth"
    return Need(
        role="identity",
        field="identity.weights",
        path=Path(cfg.identity.weights) if cfg.identity.weights else _shipped(cfg, name),
        remedy=f"train it: notebooks/04_id_aligner.ipynb with identity.use_depth={cfg.identity.use_depth}",
    )


_NEEDS: Mapping[Role, Callable[[Config], Need]] = {
    "model": _model,
    "depth": _depth,
    "face": _face,
    "structure": _structure,
    "identity": _identity,
}


def _shipped(cfg: Config, name: str) -> Path | None:
    """Mini weights count in `mini` only: a full run must never take them by mistake."""
    return MINI_ASSETS / name if cfg.preset == "mini" else None
