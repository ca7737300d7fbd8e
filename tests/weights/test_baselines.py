"""SVD and I2VGen-XL are found like other weights, and asked for by nobody but who compares with them."""

import fnmatch
import shutil

import huggingface_hub
import pytest
from huggingface_hub import constants

from semrepa.config import full, mini, override
from semrepa.hashes import sha256_of_files
from semrepa.weights import ROLES, WeightsError, catalogue, check_weights, locate, sha256_of_weights
from semrepa.weights.__main__ import main
from tests.weights.makers import into_hub_cache

SVD = "stabilityai/stable-video-diffusion-img2vid-xt"


def test_runs_of_the_kit_do_not_ask_for_them():
    assert not {"svd", "i2vgen-xl"} & set(ROLES)
    assert {"svd", "i2vgen-xl"} <= set(catalogue(full()))


def test_field_then_variable_then_folder_then_hub_cache(svd_folder, tmp_path, monkeypatch):
    named = shutil.copytree(svd_folder, tmp_path / "named")
    inside = shutil.copytree(svd_folder, tmp_path / "weights" / "stable-video-diffusion-img2vid-xt")
    cached = into_hub_cache(SVD, svd_folder)
    monkeypatch.setenv("SEMREPA_SVD_WEIGHTS", str(svd_folder))
    cfg = override(full(), {"baselines.svd": str(named), "weights.folder": str(inside.parent)})
    assert locate(cfg, "svd").path == named
    cfg = override(cfg, {"baselines.svd": None})
    assert locate(cfg, "svd").path == svd_folder
    monkeypatch.delenv("SEMREPA_SVD_WEIGHTS")
    assert locate(cfg, "svd").path == inside
    assert locate(full(), "svd").path == cached
    assert locate(mini(), "svd").path == cached, "nothing of the kind is shipped"


def test_kind_and_hash(i2vgen_xl_folder, tmp_path):
    cfg = override(full(), {"baselines.i2vgen_xl": str(i2vgen_xl_folder)})
    (record,) = check_weights(cfg, ["i2vgen-xl"])
    assert (record.name, record.kind, record.source) == ("i2vgen-xl", "random", str(i2vgen_xl_folder))
    parts = ("vae", "unet", "image_encoder", "text_encoder", "scheduler", "feature_extractor", "tokenizer")
    files = [file for part in parts for file in (i2vgen_xl_folder / part).iterdir()]
    assert record.sha256 == sha256_of_files(i2vgen_xl_folder, files)
    other = shutil.copytree(i2vgen_xl_folder, tmp_path / "other")
    (other / "README.md").write_text("what else lies there")
    assert sha256_of_weights("i2vgen-xl", other) == record.sha256
    settings = other / "unet" / "config.json"
    text = settings.read_text()
    start = text.index("[", text.index("block_out_channels"))
    settings.write_text(text[: start + 1] + "320, 640" + text[text.index("]", start) :])
    (record,) = check_weights(override(cfg, {"baselines.i2vgen_xl": str(other)}), ["i2vgen-xl"])
    assert record.kind == "real"


def test_what_is_missing_is_told_with_licence_and_command(tmp_path):
    with pytest.raises(WeightsError) as caught:
        check_weights(full(), ["svd", "i2vgen-xl"])
    message = str(caught.value)
    assert "2 of 2 missing or unfit; nothing was downloaded" in message
    assert "Stability AI community licence" in message and "MIT" in message
    assert "hf download ali-vilab/i2vgen-xl" in message
    assert "python -m semrepa.weights --preset full --role svd i2vgen-xl --download" in message
    cfg = override(full(), {"baselines.svd": str(tmp_path)})
    assert "without vae/config.json" in locate(cfg, "svd").problem


def test_download_takes_full_precision_safetensors_only(svd_folder, monkeypatch, capsys):
    asked = {}

    def download(repo, *, allow_patterns, local_dir):
        asked[repo] = allow_patterns
        return into_hub_cache(repo, svd_folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert main(["--role", "svd"]) == 1 and not asked
    assert main(["--role", "svd", "--download"]) == 0
    assert "svd: random" in capsys.readouterr().out
    official = {
        "model_index.json": True,
        "svd_xt.safetensors": False,
        "unet/diffusion_pytorch_model.safetensors": True,
        "unet/diffusion_pytorch_model.fp16.safetensors": False,
        "image_encoder/model.safetensors": True,
        "image_encoder/pytorch_model.bin": False,
        "tokenizer/merges.txt": True,
        "models/i2vgen_xl_00854500.pth": False,
    }
    (patterns,) = asked.values()
    taken = {name: any(fnmatch.fnmatch(name, pattern) for pattern in patterns) for name in official}
    assert taken == official
