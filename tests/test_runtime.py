import importlib.metadata
import json
import logging
import os
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from semrepa import __version__, provenance
from semrepa.config import mini
from semrepa.provenance import Provenance, mini_asset, require_one_provenance, run_kind, sha256_of
from semrepa.runtime import (
    RunFolder,
    autocast,
    compute_dtype,
    pick_device,
    seed_everything,
    versions,
    write_json,
    write_run_json,
)


def test_seed_fixes_all_generators():
    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()

    seed_everything(3)
    first = draw()
    seed_everything(3)
    assert draw() == first
    seed_everything(4)
    assert all(a != b for a, b in zip(draw(), first, strict=True))
    with pytest.raises(ValueError, match="seed: got -1; expected 0 to 4294967295"):
        seed_everything(-1)


def test_device():
    assert pick_device().type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_frozen_weights_are_float32_on_cpu_unless_asked():
    cpu = torch.device("cpu")
    assert compute_dtype(cpu) is torch.float32
    assert compute_dtype(cpu, "bfloat16") is torch.bfloat16


@pytest.mark.parametrize("native", [True, False])
def test_cpu_autocasts_only_where_bfloat16_is_native(native, monkeypatch):
    monkeypatch.setattr("semrepa.runtime._cpu_has_bf16", lambda: native)
    layer = torch.nn.Linear(4, 4)
    with autocast(torch.device("cpu")):
        assert layer(torch.zeros(1, 4)).dtype is (torch.bfloat16 if native else torch.float32)


@dataclass(frozen=True)
class Part:
    path: Path
    sizes: tuple[int, ...]


def test_write_json_takes_research_values(tmp_path):
    value = {
        "a": Part(Path("x/y"), (1, 2)),
        "b": np.float32(0.5),
        "c": torch.tensor(2),
        "d": float("nan"),
        3: None,
    }
    path = write_json(tmp_path / "new" / "a.json", value)
    read = json.loads(path.read_text())
    assert read == {"a": {"path": "x/y", "sizes": [1, 2]}, "b": 0.5, "c": 2, "d": "nan", "3": None}
    assert [file.name for file in path.parent.iterdir()] == ["a.json"]


def test_a_failed_write_keeps_the_old_file(tmp_path):
    path = write_json(tmp_path / "a.json", {"kept": 1})
    with pytest.raises(TypeError, match="expected numbers, texts"):
        write_json(path, {"lost": object()})
    assert json.loads(path.read_text()) == {"kept": 1}


def test_run_folder_logs_the_library_only_inside_its_context(tmp_run):
    logger = logging.getLogger("semrepa.some.part")
    with tmp_run.log("train") as file:
        logger.info("inside")
    logger.warning("outside")
    text = file.read_text()
    assert "INFO semrepa.some.part: inside" in text
    assert "outside" not in text
    assert file == tmp_run.path / "train.log"
    assert Path(tmp_run) == tmp_run.path


def test_run_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"run_dir: got .*file; expected a folder that can be written"):
        RunFolder(tmp_path / "file")


def test_versions():
    found = versions()
    assert found["semrepa"] == __version__
    assert found["torch"] == importlib.metadata.version("torch")
    assert found["python"].startswith("3.")


def test_run_json_tells_the_whole_run(tmp_run, tmp_path):
    inside, outside = tmp_run.path / "weights" / "a.bin", tmp_path / "b.bin"
    inside.parent.mkdir()
    inside.write_bytes(b"a")
    outside.write_bytes(b"b")
    record = Provenance.of("transformer", inside, kind="mini")
    teacher = Provenance(name="face", source="b", kind="real")
    path = write_run_json(
        tmp_run,
        status="ok",
        config=mini(),
        provenance=iter([record, teacher]),
        metrics={"loss": 0.5},
        artefacts=[inside, outside],
    )
    run = json.loads(path.read_text())
    assert path == tmp_run.path / "run.json"
    assert run["status"] == "ok"
    assert run["config"]["video"]["num_frames"] == 17
    assert run["metrics"] == {"loss": 0.5}
    assert run["artefacts"] == {
        "weights/a.bin": sha256_of(inside),
        str(outside.resolve()): sha256_of(outside),
    }
    assert run["provenance"] == [
        {"name": "transformer", "source": str(inside), "kind": "mini", "sha256": sha256_of(inside)},
        {"name": "face", "source": "b", "kind": "real", "sha256": None},
    ]
    assert run["kind"] == "mini"
    assert run["versions"]["torch"] == importlib.metadata.version("torch")
    assert run["machine"]["cores"] == os.cpu_count()
    assert run["machine"]["kind"] in ("cpu", "cuda")
    with pytest.raises(FileNotFoundError, match="hash: got"):
        write_run_json(tmp_run, status="ok", artefacts=[tmp_path / "none"])


def test_shipped_weights_are_mini_and_others_real(tmp_path, monkeypatch):
    assets = tmp_path / "assets"
    monkeypatch.setattr(provenance, "MINI_ASSETS", assets)
    (assets / "vae").mkdir(parents=True)
    (tmp_path / "own").mkdir()
    assert mini_asset("vae") == assets / "vae"
    assert Provenance.of("vae", assets / "vae").kind == "mini"
    assert Provenance.of("vae", tmp_path / "own").kind == "real"
    assert Provenance.of("vae", tmp_path / "own", kind="random").kind == "random"
    with pytest.raises(FileNotFoundError, match="make weights"):
        mini_asset("face", "detector.onnx")


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [(["real"], "real"), (["real", "mini", "real"], "mini"), (["mini", "random"], "random")],
)
def test_a_run_counts_as_its_weakest_part(kinds, expected):
    assert run_kind(Provenance(name="part", source="a", kind=kind) for kind in kinds) == expected


def test_a_run_without_weights_has_no_kind(tmp_run):
    with pytest.raises(ValueError, match="got no records"):
        run_kind([])
    assert json.loads(write_run_json(tmp_run, status="ok").read_text())["kind"] is None


def test_one_table_takes_one_kind():
    first, second = (Provenance(name=name, source="a", kind="mini") for name in ("one", "two"))
    full_run = Provenance(name="three", source="b", kind="real")
    assert require_one_provenance([first, second]) == "mini"
    with pytest.raises(ValueError, match=r"mixed kinds \(mini: one, two; real: three\)"):
        require_one_provenance([first, full_run, second])
    with pytest.raises(ValueError, match="got no records"):
        require_one_provenance([])
