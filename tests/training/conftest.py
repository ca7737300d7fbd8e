"""A small feature store, tiny aligners, and the tiny base model."""

import json
from contextlib import nullcontext
from pathlib import Path

import pytest
from training.clips import HELDOUT, TRAIN, record

from semrepa.config import Config, override
from semrepa.data.dataset import Batch, StoreDataset
from semrepa.data.store import FeatureStore
from semrepa.models.cogvideox import CogVideoX, load_cogvideox
from semrepa.models.freeze import freeze
from semrepa.training.alignment import Aligners
from semrepa.training.floors import sample
from semrepa.training.pretrain import new_identity_aligner, new_structure_aligner


@pytest.fixture(scope="session")
def store(tmp_path_factory) -> FeatureStore:
    made = FeatureStore(tmp_path_factory.mktemp("store"), {"vae": "tiny", "size": [9, 32, 48]})
    for seed, name in enumerate((*TRAIN, *HELDOUT)):
        made.write(name, record(seed, face=name != "faceless"))
    return made


@pytest.fixture(scope="session")
def cfg(small_config: Config, tiny_folder) -> Config:
    short = {"steps": 5, "eval_every": 4, "checkpoint_every": 100, "lr": 1e-3, "resume": True}
    stages = dict.fromkeys(("finetune", "pretrain_structure", "pretrain_identity"), short)
    as_the_paper = {"weight_cosine": 0.0, "noise": 0.0, "shift": 0}
    return override(small_config, {"model.weights": str(tiny_folder), "identity": as_the_paper, **stages})


@pytest.fixture(scope="session")
def parts(tiny_folder) -> CogVideoX:
    return load_cogvideox(tiny_folder)


@pytest.fixture
def aligners(cfg, store) -> Aligners:
    return Aligners(
        structure=freeze(new_structure_aligner(cfg)),
        identity=freeze(new_identity_aligner(cfg, sample(store, TRAIN))),
    )


@pytest.fixture
def batch(store) -> Batch:
    """Two clips with faces and one without."""
    return StoreDataset(store, ("a", "b", "faceless")).batch([0, 1, 2])


@pytest.fixture
def float32(monkeypatch):
    """Networks compute in float32 also where the processor has bfloat16."""
    for module in ("combined", "alignment", "objectives"):
        monkeypatch.setattr(f"semrepa.training.{module}.autocast", lambda _: nullcontext())


@pytest.fixture
def index(tmp_path) -> Path:
    """An index of the clips of the store, and of one that is not in it."""
    file = tmp_path / "index.jsonl"
    rows = [(name, "train") for name in TRAIN] + [(name, "heldout") for name in HELDOUT] + [("gone", "train")]
    lines = [
        {"id": name, "path": f"{name}.mp4", "caption": "a person", "split": split} for name, split in rows
    ]
    for row in lines:
        (tmp_path / row["path"]).touch()
    file.write_text("".join(json.dumps(row) + "\n" for row in lines))
    return file
