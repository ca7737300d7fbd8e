"""Networks that judge: where they are looked for, what stands in for them in mini, and what full says."""

from pathlib import Path

import pytest
import torch
from torchvision.models.optical_flow import raft_small

from semrepa.config import full, mini, override
from semrepa.metrics.distances import fid, kid
from semrepa.metrics.features import extract
from semrepa.metrics.image import clip_mean
from semrepa.metrics.motion import motion_features, motion_score, name_of
from semrepa.metrics.perceptual import lpips
from semrepa.metrics.report import ClipScores, report_rows
from semrepa.metrics.text import text_score
from semrepa.weights import JUDGES, ROLES, WeightsError, check_weights, locate
from semrepa.weights.judges import load_judges, with_second_face
from tests.teachers.packs import build_pack
from tests.weights.makers import checkpoint


@pytest.fixture(autouse=True)
def no_other_places(monkeypatch, empty_home):
    """Nobody has used torch's hub or installed the lpips package."""
    monkeypatch.setenv("TORCH_HOME", str(empty_home / "torch"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)


def test_training_does_not_need_them():
    assert not set(ROLES) & set(JUDGES)
    assert {record.name for record in check_weights(mini(), ("model", "face"))} == {"model", "face"}


def test_mini_judges_by_random_weights_and_says_so():
    judges = load_judges(mini())
    kinds = {record.name.split(",")[0]: record.kind for record in judges.provenance}
    assert kinds == {
        "LPIPS v0.1 alex": "random",
        "FID Inception 2048 (pytorch-fid": "random",
        "flow dis": "real",
        "CLIP": "random",
    }
    assert not any(x.requires_grad for x in judges.perceptual.parameters())


def test_every_learned_score_can_be_had_offline_and_shows_its_label():
    judges = load_judges(mini())
    truth = torch.randint(0, 256, (3, 3, 3, 64, 96), dtype=torch.uint8)
    frames = (truth // 2 + 30).contiguous()
    names = ["a", "b", "c"]
    distances = lpips(frames, truth, judges.perceptual)
    assert distances.shape == (3, 3) and (distances > 0).all()
    scored, true = (extract(x, judges.inception, names) for x in (frames, truth))
    moved = motion_features(frames, truth, judges.flow, judges.inception, names)
    for score in (fid(scored, true), kid(scored, true), motion_score(*moved, name_of(judges.flow))):
        assert "random weights" in str(score)
    cosines = text_score(frames, ["a man waves"] * 3, judges.text)
    kinds = {"lpips_alex": judges.perceptual.provenance.kind, "text": cosines.provenance.kind}
    per_clip = {"lpips_alex": clip_mean(distances), "text": clip_mean(cosines.frames)}
    rows = [
        ClipScores(
            arm="base",
            clip=name,
            provenance="mini",
            values={key: values[k].item() for key, values in per_clip.items()},
            judges=kinds,
        )
        for k, name in enumerate(names)
    ]
    (row,) = report_rows(rows)
    assert {"lpips_alex (random weights)", "text (random weights)"} < set(row)


def test_full_names_all_that_is_missing_at_once():
    with pytest.raises(WeightsError) as caught:
        load_judges(full())
    message = str(caught.value)
    for expected in (
        "5 of 5 missing",
        "curl -L -O https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
        "pip install --no-deps lpips",
        "fid_weights/pt_inception-2015-12-05-6726825d.pth",
        "raft_large_C_T_SKHT_V2-ff5fadd5.pth",
        "hf download openai/clip-vit-base-patch32",
        "BSD-2-Clause",
        "MIT (OpenAI)",
        "torch hub cache",
        "nothing was downloaded",
    ):
        assert expected in message
    fewer = override(full(), {"metrics.flow": "dis"})
    with pytest.raises(WeightsError, match="4 of 4 missing"):
        load_judges(fewer)


def test_lpips_file_follows_the_config():
    cfg = override(full(), {"metrics.lpips": "vgg", "metrics.flow": "raft_small"})
    assert locate(cfg, "lpips_backbone").network.names == ("vgg16-397923af.pth",)
    assert locate(cfg, "lpips_heads").network.names[0] == "vgg.pth"
    assert locate(cfg, "raft").network.names == ("raft_small_C_T_V2-01064c6d.pth",)


def test_files_are_found_where_other_programs_keep_them(empty_home, tmp_path, monkeypatch):
    hub = empty_home / "torch" / "hub" / "checkpoints"
    for role, name in {
        "lpips_backbone": "alexnet-owt-7be5be79.pth",
        "inception": "weights-inception-2015-12-05-6726825d.pth",
        "raft": "raft_large_C_T_SKHT_V2-ff5fadd5.pth",
    }.items():
        file = checkpoint(hub / name)
        found = locate(full(), role)
        assert (found.path, found.place, found.is_fine) == (file, "torch hub cache", True)
    heads = checkpoint(tmp_path / "lpips" / "weights" / "v0.1" / "alex.pth")
    spec = type("Spec", (), {"origin": str(tmp_path / "lpips" / "__init__.py")})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec if name == "lpips" else None)
    assert (locate(full(), "lpips_heads").path, locate(full(), "lpips_heads").place) == (
        heads,
        "lpips package",
    )
    own = checkpoint(tmp_path / "all" / "alex.pth")
    cfg = override(full(), {"weights.folder": str(own.parent)})
    assert (locate(cfg, "lpips_heads").path, locate(cfg, "lpips_heads").place) == (own, "weights.folder")


def test_found_weights_are_taken_in_mini_too(tmp_path):
    torch.manual_seed(7)
    torch.save(raft_small(weights=None).state_dict(), tmp_path / "raft.pth")
    cfg = override(mini(), {"metrics.flow": "raft_small", "metrics.raft": str(tmp_path / "raft.pth")})
    judges = load_judges(cfg)
    assert judges.flow.provenance.kind == "real" and judges.flow.provenance.source == str(
        tmp_path / "raft.pth"
    )
    assert len(str(judges.flow.provenance.sha256)) == 64
    assert judges.inception.provenance.kind == "random"


def test_what_the_user_names_is_never_replaced_by_random_weights(tmp_path):
    for changes, problem in (
        ({"metrics.inception": str(tmp_path / "typo.pth")}, "typo.pth: not there"),
        ({"metrics.clip": str(tmp_path)}, "incomplete, without tokenizer.json or vocab.json"),
    ):
        with pytest.raises(WeightsError, match=problem):
            load_judges(override(mini(), changes))
    (tmp_path / "cut.pth").write_bytes(b"<html>")
    with pytest.raises(WeightsError, match="a web page"):
        load_judges(override(mini(), {"metrics.inception": str(tmp_path / "cut.pth")}))


@pytest.mark.parametrize(
    ("there", "problem"),
    [
        (("config.json", "tokenizer.json", "model.safetensors"), "no"),
        (("config.json", "tokenizer.json"), "without model.safetensors or pytorch_model.bin"),
        (("tokenizer.json", "pytorch_model.bin"), "without config.json"),
    ],
)
def test_clip_folder_is_looked_over(tmp_path, there, problem):
    for name in there:
        (tmp_path / name).write_bytes(b"nothing of use")
    assert problem in locate(override(full(), {"metrics.clip": str(tmp_path)}), "clip").problem


def test_second_opinion_on_faces(tmp_path, empty_home):
    with pytest.raises(WeightsError, match="buffalo_l") as caught:
        with_second_face(mini())
    assert "non-commercial research only" in str(caught.value)
    pack = build_pack(tmp_path / "buffalo_l", ("det_10g.onnx", "w600k_r50.onnx"), metadata={})
    cfg = with_second_face(override(mini(), {"metrics.second_face": str(pack)}))
    assert cfg.face.pack == str(pack)
    home = Path(empty_home) / ".insightface" / "models"
    found = build_pack(home / "buffalo_l", ("det_10g.onnx", "w600k_r50.onnx"), metadata={})
    assert locate(full(), "second_face").path == found
    assert with_second_face(full()).face.pack == str(found)
