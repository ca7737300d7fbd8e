"""Assembly and training of the mini base model and the aligners, in small."""

import numpy as np
import pytest
import torch
from diffusers import CogVideoXImageToVideoPipeline, CogVideoXTransformer3DModel
from PIL import Image
from safetensors.torch import load_file

from semrepa.config import Config, mini, override
from semrepa.data.dataset import StoreDataset
from semrepa.miniature import networks
from semrepa.models.cogvideox import predict_v
from semrepa.models.identity import IdentityAligner
from semrepa.models.latents import encode
from semrepa.training.alignment import Aligners
from semrepa.training.checks import check_aligners
from semrepa.training.log import read_metrics
from semrepa.training.pretrain import new_identity_aligner, new_structure_aligner, pretrain_identity
from tests.tiny import tiny_noise_scheduler, tiny_text, tiny_transformer, tiny_vae


@pytest.fixture(scope="module")
def cfg(small_config, tiny_folder) -> Config:
    plain = {"weight_struct": 0.0, "weight_id": 0.0}
    again = {"resume": True}
    return override(
        small_config,
        {
            "model.weights": str(tiny_folder),
            "loss": plain,
            "finetune": again,
            "pretrain_identity": {**again, "steps": 1, "lr": 0.0},
        },
    )


def same(a: torch.nn.Module, b: torch.nn.Module, **tolerance: float) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(torch.allclose(x.float(), y.float(), **tolerance) for x, y in pairs)


def test_the_transformer_fits_the_mini_preset():
    transformer = networks.new_transformer(0)
    video = mini().video
    latents = torch.randn(1, (video.num_frames + 3) // 4, 16, video.height // 8, video.width // 8)
    prompt = torch.zeros(1, networks.MAX_LENGTH, 64)
    with torch.no_grad():
        v = predict_v(transformer, latents, torch.zeros_like(latents), prompt, torch.tensor([500]))
    assert v.shape == latents.shape
    assert same(transformer, networks.new_transformer(0))
    assert not same(transformer, networks.new_transformer(1))


def test_scaled_latents_have_unit_deviation(clips):
    vae = tiny_vae()
    with torch.no_grad():
        vae.encoder.conv_out.conv.weight[:16] *= 5
    networks.set_scaling_factor(vae, clips)
    assert encode(vae, torch.from_numpy(clips.frames)).std().item() == pytest.approx(1, abs=0.01)
    assert vae.config.scaling_factor != pytest.approx(0.7)


def test_scale_is_measured_on_the_first_clips_alone(clips):
    vae, of_all = tiny_vae(), tiny_vae()
    networks.set_scaling_factor(vae, clips, count=1)
    networks.set_scaling_factor(of_all, clips)
    assert encode(vae, torch.from_numpy(clips.frames[:1])).std().item() == pytest.approx(1, abs=0.01)
    assert vae.config.scaling_factor != of_all.config.scaling_factor


@pytest.mark.parametrize("kind", ["vae", "transformer", "text_encoder", "structure", "identity"])
def test_a_half_copy_leaves_the_original_alone(kind, small_config, store):
    model = {
        "vae": tiny_vae,
        "transformer": tiny_transformer,
        "text_encoder": lambda: tiny_text()[1],
        "structure": lambda: new_structure_aligner(small_config),
        "identity": lambda: new_identity_aligner(small_config, StoreDataset(store, store.ids()).batch([0])),
    }[kind]()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    half = networks.copy_half(model)
    assert type(half) is type(model)
    assert {p.dtype for p in half.parameters()} == {torch.float16}
    assert same(half, model, rtol=1e-3, atol=1e-6)
    with torch.no_grad():
        for parameter in half.parameters():
            parameter.zero_()
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A saved pipeline, in a folder that held something else before."""
    folder = tmp_path_factory.mktemp("pipeline") / "cogvideox"
    folder.mkdir()
    (folder / "old.txt").write_text("from an earlier build")
    networks.save_pipeline(folder, tiny_vae(), *tiny_text(), tiny_transformer())
    return folder


def test_the_stock_pipeline_loads_the_folder_and_runs(saved):
    pipe = CogVideoXImageToVideoPipeline.from_pretrained(saved, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 48, 3), dtype=np.uint8))
    settings = {"height": 32, "width": 48, "num_frames": 9, "num_inference_steps": 2, "guidance_scale": 1.0}
    length = pipe.transformer.config.max_text_seq_length
    video = pipe(image, "a person walks", max_sequence_length=length, output_type="np", **settings).frames
    assert video.shape == (1, 9, 32, 48, 3)
    assert np.isfinite(video).all() and video.std() > 0
    assert pipe.vae.config.scaling_factor == 0.7
    theirs = tiny_noise_scheduler()
    assert pipe.scheduler.config.prediction_type == "v_prediction"
    assert torch.equal(pipe.scheduler.alphas_cumprod, theirs.alphas_cumprod)
    pipe.scheduler.set_timesteps(2)
    theirs.set_timesteps(2)
    assert torch.equal(pipe.scheduler.timesteps, theirs.timesteps)


def test_the_folder_is_replaced_and_in_half_precision(saved):
    assert not (saved / "old.txt").exists()
    files = sorted(saved.rglob("*.safetensors"))
    assert [file.parent.name for file in files] == ["text_encoder", "transformer", "vae"]
    assert {value.dtype for file in files for value in load_file(file).values()} == {torch.float16}


def test_the_builders_config_is_the_mini_preset_without_alignment(tmp_path):
    cfg = networks.build_config(tmp_path)
    assert cfg.model.weights == str(tmp_path)
    assert (cfg.video, cfg.structure, cfg.depth) == (mini().video, mini().structure, mini().depth)
    assert cfg.loss.weight_struct == cfg.loss.weight_id == 0
    assert cfg.finetune.resume
    check_aligners(cfg, Aligners())
    cfg.save(tmp_path / "config.json")
    assert Config.load(tmp_path / "config.json") == cfg


def test_the_base_is_trained_and_a_second_call_goes_on(cfg, store, tmp_path):
    ids = (store.ids()[:4], store.ids()[4:])
    folder = networks.train_base(cfg, store, tmp_path / "base", *ids)
    trained = CogVideoXTransformer3DModel.from_pretrained(folder)
    assert not same(trained, tiny_transformer())
    log = read_metrics(tmp_path / "base")
    assert "weighted_struct" not in log[-1]["parts"], "trained with an aligner"
    networks.train_base(cfg, store, tmp_path / "base", *ids)
    assert read_metrics(tmp_path / "base") == log
    assert same(trained, CogVideoXTransformer3DModel.from_pretrained(folder))


def test_an_identity_aligner_starts_from_the_one_given(cfg, store, tmp_path):
    start = new_identity_aligner(cfg, StoreDataset(store, store.ids()).batch([0, 1]))
    ids = {"train_ids": store.ids()[:4], "heldout_ids": store.ids()[4:]}
    networks.follow("identity", pretrain_identity(cfg, store, tmp_path / "identity", aligner=start, **ids))
    trained = IdentityAligner.from_pretrained(tmp_path / "identity" / "identity_aligner")
    assert same(trained, start), "at rate 0 it stays where it starts"
