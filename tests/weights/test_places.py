"""Where weights are looked for, and in which order."""

import os
import shutil
from pathlib import Path

import pytest

from semrepa.config import full, mini, override
from semrepa.weights import counted_from, locate
from tests.teachers.packs import ANTELOPE, build_pack
from tests.weights.makers import VITL, checkpoint, into_hub_cache, onnx_model

REPO = "depth-anything/Video-Depth-Anything-Large"
PAIR = ("scrfd_10g_bnkps.onnx", "arcface.onnx")


def test_argument_then_variable_then_folder_then_hub_cache(tmp_path, monkeypatch):
    argument = checkpoint(tmp_path / "argument" / VITL)
    variable = checkpoint(tmp_path / "variable" / VITL)
    folder = checkpoint(tmp_path / "folder" / VITL)
    hub = into_hub_cache(REPO, folder) / VITL
    monkeypatch.setenv("SEMREPA_DEPTH_WEIGHTS", str(variable))
    cfg = override(full(), {"weights.folder": str(folder.parent), "depth.weights": str(argument)})
    assert locate(cfg, "depth").path == argument
    cfg = override(cfg, {"depth.weights": None})
    assert locate(cfg, "depth").path == variable
    monkeypatch.delenv("SEMREPA_DEPTH_WEIGHTS")
    found = locate(cfg, "depth")
    assert (found.path, found.place) == (folder, "weights.folder")
    monkeypatch.setenv("SEMREPA_WEIGHTS", str(tmp_path / "folder"))
    found = locate(full(), "depth")
    assert (found.path, found.place) == (folder, "SEMREPA_WEIGHTS")
    folder.unlink()
    found = locate(full(), "depth")
    assert (found.path, found.place) == (hub, "hub cache")
    assert ("SEMREPA_WEIGHTS", f"{folder}: not there") in found.tried


def test_folder_of_weights_may_hold_one_folder_for_each_repository(tmp_path, tiny_folder):
    file = checkpoint(tmp_path / "Video-Depth-Anything-Large" / VITL)
    model = Path(shutil.copytree(tiny_folder, tmp_path / "THUDM" / "CogVideoX-5b-I2V"))
    cfg = override(full(), {"weights.folder": str(tmp_path)})
    assert locate(cfg, "depth").path == file
    assert "made in the sample world" in locate(cfg, "model").tried[-2][1], "two layers are no official model"
    assert locate(override(cfg, {"model.weights": str(model)}), "model").path == model


def test_a_folder_stands_for_the_official_file_in_it(tmp_path):
    file = checkpoint(tmp_path / VITL)
    assert locate(override(full(), {"depth.weights": str(tmp_path)}), "depth").path == file
    larger = onnx_model(tmp_path / "yolov8m.onnx")
    assert locate(override(full(), {"people.weights": str(tmp_path)}), "people").path == larger
    assert locate(override(full(), {"weights.folder": str(tmp_path)}), "people").path == larger


def test_home_is_understood(empty_home):
    file = checkpoint(empty_home / VITL)
    assert locate(override(full(), {"depth.weights": f"~/{VITL}"}), "depth").path == file


def test_pack_in_the_folder_of_insightface_also_when_doubled(empty_home):
    folder = empty_home / ".insightface" / "models" / "antelopev2"
    build_pack(folder / "antelopev2", PAIR, metadata={})
    found = locate(full(), "face")
    assert (found.path, found.place, found.is_fine) == (folder, "insightface", True)


def test_pack_without_arcface_is_taken_only_by_name(empty_home):
    folder = build_pack(empty_home / ".insightface" / "models" / "antelopev2", ANTELOPE, metadata={})
    found = locate(full(), "face")
    assert found.path is None
    assert "has glintr100.onnx and no arcface.onnx" in found.tried[-1][1]
    assert locate(override(full(), {"face.pack": str(folder)}), "face").is_fine


def test_mini_packs_and_models_do_not_count_in_full(tmp_path, empty_home):
    build_pack(tmp_path / "antelopev2", PAIR, metadata={"semrepa.kind": "mini"})
    checkpoint(tmp_path / VITL)
    cfg = override(full(), {"weights.folder": str(tmp_path)})
    assert "does not count in full" in locate(cfg, "face").tried[-2][1]
    assert locate(cfg, "depth").is_fine


def test_half_a_download_is_named_file_by_file(tiny_folder):
    gone = "text_encoder/model.safetensors"
    into_hub_cache("THUDM/CogVideoX-5b-I2V", tiny_folder, without=(gone, "scheduler/scheduler_config.json"))
    found = locate(full(), "model")
    assert found.path is None
    place, outcome = found.tried[-1]
    assert place == "hub cache"
    assert "incomplete, without scheduler/scheduler_config.json" in outcome
    assert "text_encoder with no weights; expected model.safetensors" in outcome


def test_a_hub_name_that_the_user_chose_goes_before_the_variable(tiny_folder, monkeypatch):
    monkeypatch.setenv("SEMREPA_MODEL_WEIGHTS", str(tiny_folder))
    assert locate(full(), "model").path == tiny_folder
    chosen = locate(override(full(), {"model.weights": "zai-org/CogVideoX1.5-5B-I2V"}), "model")
    assert chosen.path is None
    assert chosen.network.commands == ("hf download zai-org/CogVideoX1.5-5B-I2V",)
    assert chosen.tried[0] == (
        "model.weights",
        "zai-org/CogVideoX1.5-5B-I2V, which is no folder here and so the name of a repository",
    )


def test_only_the_model_can_be_named_by_a_repository(tmp_path, monkeypatch):
    monkeypatch.setenv("SEMREPA_DEPTH_WEIGHTS", str(checkpoint(tmp_path / VITL)))
    found = locate(override(full(), {"depth.weights": "weights/vitl.pth"}), "depth")
    assert (found.place, found.problem) == ("depth.weights", "not there")


def test_mini_ignores_variables_for_what_it_ships_and_heeds_them_for_the_rest(tmp_path, monkeypatch):
    small = checkpoint(tmp_path / "video_depth_anything_vits.pth")
    monkeypatch.setenv("SEMREPA_MODEL_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("SEMREPA_FACE_PACK", str(tmp_path))
    monkeypatch.setenv("SEMREPA_WEIGHTS", str(tmp_path))
    cfg = override(mini(), {"depth.teacher": "video_depth_anything", "depth.variant": "vits"})
    assert locate(cfg, "model").path.name == "cogvideox"
    assert locate(cfg, "face").path.name == "face"
    assert locate(cfg, "depth").path == small


def test_relative_paths_count_from_the_project_where_something_is_there(tmp_path):
    file = checkpoint(tmp_path / "weights" / VITL)
    changes = {
        "depth.weights": f"weights/{VITL}",
        "face.pack": "weights/none",
        "structure.weights": "/absolute",
    }
    cfg = counted_from(tmp_path, override(full(), changes))
    assert cfg.depth.weights == str(file)
    assert (cfg.face.pack, cfg.structure.weights) == ("weights/none", "/absolute")
    assert cfg.model.weights == "THUDM/CogVideoX-5b-I2V"
    assert counted_from(tmp_path, mini()) == mini()


def test_snapshot_of_the_branch_counts_and_without_one_the_newest(tmp_path):
    snapshot = into_hub_cache(REPO, checkpoint(tmp_path / VITL))
    other = snapshot.with_name("cd" * 20)
    shutil.copytree(snapshot, other, symlinks=True)
    os.utime(snapshot, (1, 1))
    assert locate(full(), "depth").path == snapshot / VITL
    (snapshot.parents[1] / "refs" / "main").unlink()
    assert locate(full(), "depth").path == other / VITL


@pytest.mark.parametrize("role", ["structure", "identity"])
def test_aligners_are_nowhere_but_where_the_user_says(role, tmp_path):
    found = locate(override(full(), {"weights.folder": str(tmp_path)}), role)
    assert found.tried == ((f"{role}.weights", "not set"),)
