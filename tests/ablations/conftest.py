"""Tiny parts of some ablations: store, base model, all three aligners, true videos of the held-out clips."""

from pathlib import Path

import pytest
from training.clips import HELDOUT, TRAIN
from training.conftest import cfg as training_cfg
from training.conftest import store

from semrepa.ablations.aligner import as_noisy
from semrepa.ablations.settings import Setting
from semrepa.config import override
from semrepa.data.index import ClipRow
from semrepa.data.video import write_video
from semrepa.models.freeze import freeze
from semrepa.training.floors import sample
from semrepa.training.pretrain import new_identity_aligner, new_structure_aligner
from tests.runs.clips import moving

__all__ = ["store", "training_cfg"]


@pytest.fixture(scope="session")
def aligner_folders(training_cfg, store, tmp_path_factory) -> dict[str, Path]:
    """A clean structure aligner, a noisy one and an identity aligner, none of which knows anything."""
    home = tmp_path_factory.mktemp("aligners")
    structure = freeze(new_structure_aligner(training_cfg))
    noisy = as_noisy(structure, override(training_cfg, {"structure.input": "noisy"}))
    identity = freeze(new_identity_aligner(training_cfg, sample(store, TRAIN)))
    for name, network in (("clean", structure), ("noisy", noisy), ("identity", identity)):
        network.save_pretrained(home / name)
    return {path.name: path for path in home.iterdir()}


@pytest.fixture
def cfg(training_cfg, aligner_folders):
    return override(
        training_cfg,
        {
            "structure.weights": str(aligner_folders["clean"]),
            "identity.weights": str(aligner_folders["identity"]),
            "finetune": {"steps": 3, "checkpoint_every": 1},
        },
    )


@pytest.fixture
def rows(tmp_path) -> list[ClipRow]:
    """All clips of the store; those held out have a video."""
    found = []
    for place, name in enumerate((*TRAIN, *HELDOUT)):
        split = "train" if name in TRAIN else "heldout"
        path = tmp_path / "videos" / f"{name}.mp4"
        if split == "heldout":
            write_video(path, moving(value=10 * place))
        found.append(ClipRow(id=name, path=path, caption="a person walks", split=split))
    return found


@pytest.fixture
def setting(cfg, store, rows, tmp_path, aligner_folders) -> Setting:
    return Setting.of(cfg, store, rows, tmp_path / "ablations", noisy=aligner_folders["noisy"])
