"""What a run learns about its weights before it starts."""

from pathlib import Path

import pytest
import torch

from semrepa.config import full, mini, override
from semrepa.hashes import sha256_of
from semrepa.provenance import MINI_ASSETS
from semrepa.training import sources
from semrepa.weights import ROLES, WeightsError, check_weights, load_base, sha256_of_weights
from tests.official import official_folder
from tests.teachers.packs import build_pack
from tests.weights.makers import VITL, aligner, checkpoint, into_hub_cache, onnx_model

OWN = {"depth.teacher": "video_depth_anything", "depth.variant": "vits", "people.detector": "yolov8"}
"""A mini run on own videos."""


@pytest.fixture
def everything(tmp_path, tiny_folder):
    """Config of `full` with all its networks in place."""
    places = {
        "model.weights": tiny_folder,
        "depth.weights": checkpoint(tmp_path / VITL),
        "face.pack": build_pack(tmp_path / "antelopev2", metadata={}),
        "people.weights": onnx_model(tmp_path / "yolov8n.onnx"),
        "structure.weights": aligner(tmp_path / "structure"),
        "identity.weights": aligner(tmp_path / "identity", "identity_aligner"),
    }
    return override(full(), {field: str(path) for field, path in places.items()})


def complaint(cfg, roles=ROLES):
    with pytest.raises(WeightsError) as caught:
        check_weights(cfg, roles)
    return str(caught.value)


def test_mini_takes_the_shipped_weights_in_the_order_asked():
    records = check_weights(mini(), ("face", "depth", "model"))
    assert [record.name for record in records] == ["face", "depth", "model"]
    assert {record.kind for record in records} == {"mini"}
    assert records[1].sha256 is None, "exact depth has no file"
    assert records[2].source == str(MINI_ASSETS / "cogvideox")


@pytest.mark.parametrize(
    ("use_depth", "folder"), [(True, "identity_aligner"), (False, "identity_aligner_no_depth")]
)
def test_identity_aligner_follows_the_config(use_depth, folder):
    (record,) = check_weights(override(mini(), {"identity.use_depth": use_depth}), ["identity"])
    assert record.source == str(MINI_ASSETS / folder)


def test_no_noisy_aligner_is_shipped():
    message = complaint(override(mini(), {"structure.input": "noisy"}), ["structure"])
    assert "03_structure_aligner.ipynb --preset mini" in message
    assert "runs/03_structure_aligner/noisy/structure_aligner" in message


def test_full_lists_all_that_is_missing_at_once_with_terms_sizes_and_commands():
    message = complaint(full())
    assert "6 of 6 missing" in message
    assert str(MINI_ASSETS) not in message, "a full run never takes mini weights"
    for field in ("model", "depth", "people", "structure", "identity"):
        assert f"{field}.weights" in message
    for expected in (
        "face.pack",
        "SEMREPA_MODEL_WEIGHTS   not set",
        "SEMREPA_DEPTH_WEIGHTS   not set",
        "SEMREPA_FACE_PACK       not set",
        "SEMREPA_PEOPLE_WEIGHTS  not set",
        "SEMREPA_WEIGHTS         not set",
        "hub cache",
        ".insightface/models/antelopev2: not there",
        "hf download THUDM/CogVideoX-5b-I2V",
        "hf download depth-anything/Video-Depth-Anything-Large video_depth_anything_vitl.pth",
        "releases/download/model-zoo/antelopev2.zip",
        "hf download FoivosPar/Arc2Face arcface.onnx",
        "yolo export model=yolov8n.pt format=onnx",
        "21.2 GB",
        "1.54 GB",
        "insightface and Arc2Face models: non-commercial",
        "CC-BY-NC-4.0: non-commercial",
        "AGPL-3.0",
        "CogVideoX licence",
        "nothing was downloaded",
        "python -m semrepa.weights --preset full --download",
    ):
        assert expected in message


@pytest.mark.parametrize(
    ("variant", "metric", "command", "licence"),
    [
        ("vits", False, "Video-Depth-Anything-Small video_depth_anything_vits.pth", "Apache-2.0"),
        ("vitb", False, "Video-Depth-Anything-Base video_depth_anything_vitb.pth", "CC-BY-NC-4.0"),
        ("vitl", True, "Metric-Video-Depth-Anything-Large metric_video_depth_anything_vitl.pth", "CC-BY-NC"),
    ],
)
def test_depth_checkpoint_follows_the_config(variant, metric, command, licence):
    message = complaint(override(full(), {"depth.variant": variant, "depth.metric": metric}), ["depth"])
    assert f"hf download depth-anything/{command}" in message
    changes = f" -o depth.variant={variant}" * (variant != "vitl") + " -o depth.metric=True" * metric
    assert f"python -m semrepa.weights --preset full{changes} --download" in message
    assert licence in message


def test_every_network_has_its_file_its_hash_and_its_kind(everything):
    records = {record.name: record for record in check_weights(everything)}
    assert list(records) == list(ROLES)
    assert records["depth"].source == everything.depth.weights
    assert records["depth"].sha256 == sha256_of(everything.depth.weights)
    assert records["people"].sha256 == sha256_of(everything.people.weights)
    assert all(len(record.sha256) == 64 and Path(record.source).exists() for record in records.values())
    kinds = {role: record.kind for role, record in records.items()}
    assert (kinds["depth"], kinds["face"], kinds["people"]) == ("real", "real", "real")
    assert kinds["model"] == "mini", "no official checkpoint has two layers"


def test_own_videos_in_mini_mix_real_teachers_and_mini_models(tmp_path):
    places = {
        "depth.weights": checkpoint(tmp_path / "video_depth_anything_vits.pth"),
        "face.pack": build_pack(tmp_path / "pack", metadata={}),
        "people.weights": onnx_model(tmp_path / "yolov8n.onnx"),
    }
    cfg = override(mini(), {**OWN, **{field: str(path) for field, path in places.items()}})
    kinds = {record.name: record.kind for record in check_weights(cfg, set(ROLES) - {"identity"})}
    teachers = dict.fromkeys(("depth", "face", "people"), "real")
    assert kinds == teachers | dict.fromkeys(("model", "structure"), "mini")
    message = complaint(cfg)
    assert "1 of 6 missing" in message, "the shipped identity aligner answers to the shipped face pack"
    assert "--download" not in message, "no hub has it"
    assert "environment variable" not in message


def test_people_may_rest_on_the_face_pack(everything):
    cfg = override(everything, {"people.detector": "face", "people.weights": None})
    face, people = check_weights(cfg, ("face", "people"))
    assert (people.name, people.source, people.sha256) == ("people", face.source, face.sha256)
    (only,) = check_weights(mini(), ["people"])
    assert only.source == str(MINI_ASSETS / "face")
    missing = complaint(override(full(), {"people.detector": "face"}), ("face", "people"))
    assert "1 of 1 missing" in missing


def test_what_the_user_names_is_never_passed_over(everything, tmp_path, monkeypatch):
    monkeypatch.setenv("SEMREPA_DEPTH_WEIGHTS", everything.depth.weights)
    monkeypatch.setenv("SEMREPA_WEIGHTS", str(tmp_path))
    gone = tmp_path / "typo.pth"
    message = complaint(override(everything, {"depth.weights": str(gone)}))
    assert "1 of 6 missing" in message
    assert f"depth.weights           {gone}: not there" in message
    monkeypatch.setenv("SEMREPA_DEPTH_WEIGHTS", str(gone))
    assert f"{gone}: not there" in complaint(override(everything, {"depth.weights": None}))


@pytest.mark.parametrize("section", ["model", "depth", "face", "people"])
def test_pinned_hash(everything, section):
    role = section
    path = Path(
        getattr(everything, section).pack if section == "face" else getattr(everything, section).weights
    )
    got, other = sha256_of_weights(role, path), "0" * 64
    assert check_weights(override(everything, {f"{section}.sha256": got}), [role])[0].sha256 == got
    message = complaint(override(everything, {f"{section}.sha256": other}))
    assert "1 of 6" in message
    assert f"has hash {got}; {section}.sha256 expects {other}" in message


def test_pinned_hash_is_that_of_the_content_not_of_a_name(tmp_path):
    file = checkpoint(tmp_path / VITL)
    digest = sha256_of(file)
    snapshot = into_hub_cache("depth-anything/Video-Depth-Anything-Large", file)
    cfg = override(full(), {"depth.sha256": digest})
    assert check_weights(cfg, ["depth"])[0].sha256 == digest
    checkpoint((snapshot / VITL).resolve(), value=2.0)
    assert check_weights(full(), ["depth"])[0].sha256 == digest, "the name of the blob is believed"
    assert f"has hash {sha256_of(snapshot / VITL, trust_names=False)}" in complaint(cfg, ["depth"])


def test_hash_of_a_model_is_that_of_its_parts(tiny_folder, tmp_path):
    copy = into_hub_cache("somebody/model", tiny_folder)
    (copy / "README.md").write_text("about it")
    assert sha256_of_weights("model", copy) == sha256_of_weights("model", tiny_folder)
    config = copy / "vae" / "config.json"
    text = config.read_text()
    config.unlink()
    config.write_text(text.replace("0.7", "0.8"))
    assert sha256_of_weights("model", copy) != sha256_of_weights("model", tiny_folder)


def test_model_without_positions_for_the_videos_of_the_run(tmp_path):
    cfg = override(full(), {"model.weights": str(official_folder(tmp_path))})
    message = complaint(cfg, ["model"])
    assert "learned positions" in message
    size = {"video": {"num_frames": 9, "height": 32, "width": 48}}
    assert check_weights(override(cfg, size), ["model"])[0].source == str(tmp_path)


def test_one_list_holds_missing_damaged_and_unexpected(everything, tmp_path):
    Path(everything.depth.weights).write_bytes(b"")
    changes = {"people.sha256": "1" * 64, "identity.weights": str(tmp_path / "nowhere")}
    message = complaint(override(everything, changes))
    assert "3 of 6 missing or unfit" in message
    assert all(text in message for text in ("empty (0 bytes)", "people.sha256 expects", "nowhere: not there"))


def test_the_error_is_shown_without_a_stack_trace():
    with pytest.raises(FileNotFoundError) as caught:
        check_weights(full())
    assert isinstance(caught.value, ValueError)
    (text,) = caught.value._render_traceback_()
    assert text == f"WeightsError: {caught.value}"


def test_only_the_transformer_that_is_trained_is_loaded_in_float32(small_config, tiny_folder):
    cfg = override(small_config, {"model.weights": str(tiny_folder), "model.dtype": "bfloat16"})
    sampled, trained = load_base(cfg), sources.load_base(cfg)
    assert sampled.transformer.dtype == sampled.vae.dtype == trained.vae.dtype == torch.bfloat16
    assert trained.transformer.dtype == torch.float32
    assert trained.tokenizer is not None and trained.noise_scheduler is not None
    only = load_base(cfg, ("vae",))
    assert only.vae is not None and only.transformer is None


def test_base_model_is_loaded_from_where_it_was_found(tiny_folder, monkeypatch):
    monkeypatch.setenv("SEMREPA_MODEL_WEIGHTS", str(tiny_folder))
    assert check_weights(full(), ["model"])[0].source == str(tiny_folder)
    parts = load_base(override(full(), {"model.vae_tiling": True}), ("vae", "tokenizer"))
    assert parts.source == str(tiny_folder)
    assert parts.vae.use_tiling
