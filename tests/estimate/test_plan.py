"""The whole estimate: speeds of GPUs, what is added up, what is warned of, where sizes come from."""

import math
import re
import types
from unittest import mock

import pytest
import torch

from semrepa.config import full, mini, override
from semrepa.estimate import GPUS, estimate, find_gpu, gpus, plan, tables
from semrepa.estimate.formulas import cast_bytes, forward_flops, step_bytes, step_flops
from semrepa.estimate.memory import PARTS, all_memory, finetuning
from semrepa.estimate.networks import parameters, stack_of
from semrepa.estimate.work import all_work, preparation, sizes_of, useful_flops
from semrepa.estimate.work import finetuning as finetuning_work
from semrepa.models.blueprints import OFFICIAL, settings
from tests.tiny import tiny_transformer

GIB = 2**30
FLOAT32 = {"finetune": {"optimizer": "adamw", "weights_dtype": "float32"}}
FULL = stack_of(OFFICIAL["CogVideoX-5b-I2V"], full().video)


def test_published_speed_of_generation():
    for name, seconds in (("A100", 180), ("H100", 90)):
        gpu = find_gpu(name)
        assert 100 * forward_flops(FULL) / gpu.speed("transformer") == pytest.approx(seconds, rel=0.02)
        per_step = step_flops(FULL, trained=True, checkpointing=True) / gpu.speed("transformer")
        assert per_step == pytest.approx({"A100": 7.6, "H100": 3.8}[name], rel=0.02)


def test_published_speed_of_preparation():
    """5.3 to 6.7 s for a clip on an A100, with the depth teacher in half precision."""
    cfg = override(full(), {"depth.dtype": "float16"})
    seconds = sum(part.seconds(find_gpu("A100")) for part in preparation(cfg, sizes_of(cfg)))
    # Ours encodes each frame once (138 TFLOP for 218), which takes 0.8 s off the published estimate.
    assert 5.3 - 0.8 < seconds < 6.7 - 0.8


@pytest.mark.parametrize("name", ["a100", "A100 80GB", "NVIDIA A100-80GB"])
def test_gpus_are_found_by_any_spelling(name):
    assert find_gpu(name) is GPUS["A100-80GB"]


def test_an_unknown_gpu_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"gpu: got 'H900'; expected one of A100-40GB.*cpu"):
        find_gpu("H900")


def fake_gpu(name, gib):
    seen = types.SimpleNamespace(name=name, total_memory=gib * GIB)
    return mock.patch.multiple(torch.cuda, is_available=lambda: True, get_device_properties=lambda _: seen)


def seeing(name, gib):
    with fake_gpu(name, gib):
        seen = gpus.visible_gpu()
    return mock.patch.object(plan, "visible_gpu", return_value=seen)


def test_the_visible_gpu_counts_with_its_own_memory():
    assert gpus.visible_gpu() is None or torch.cuda.is_available()
    with fake_gpu("NVIDIA A100-SXM4-40GB", 39.5):
        seen = gpus.visible_gpu()
    assert (seen.name, seen.memory) == ("A100-40GB", 39.5 * GIB)
    others = {"NVIDIA A100-SXM4-80GB": "A100-80GB", "NVIDIA GeForce RTX 4090": "RTX 4090"}
    for reported, name in others.items():
        with fake_gpu(reported, 79.2):
            assert gpus.visible_gpu().name == name


@pytest.mark.parametrize(
    ("reported", "teraflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H100 NVL", 835),
        ("NVIDIA H200", 989),
        ("NVIDIA A100-SXM4-40GB", 312),
        ("NVIDIA A100-PCIE-40GB", 312),
        ("NVIDIA GeForce RTX 4090", 165),
    ],
)
def test_the_peak_is_that_of_the_data_sheet(reported, teraflops):
    with fake_gpu(reported, 79.2):
        assert gpus.visible_gpu().peak == teraflops * 1e12


def test_the_peak_of_other_gpus_and_of_cpus_is_not_known():
    with fake_gpu("Tesla T4", 15):
        assert math.isnan(gpus.visible_gpu().peak)
    assert math.isnan(find_gpu("cpu").peak)
    assert all(gpu.transformer < gpu.peak for gpu in GPUS.values())


def test_useful_work_leaves_out_what_is_computed_twice():
    cfg = full()
    sizes, once = sizes_of(cfg), override(cfg, {"finetune.gradient_checkpointing": False})
    useful = useful_flops(cfg, sizes)
    assert useful == useful_flops(once, sizes) == sum(work.flops for work in finetuning_work(once, sizes))
    assert sum(work.flops for work in finetuning_work(cfg, sizes)) - useful == pytest.approx(332e12, rel=0.01)
    plain = override(cfg, {"loss": {"weight_struct": 0.0, "weight_id": 0.0}})
    assert useful_flops(plain, sizes) == pytest.approx(1078e12 + 4.8e12, rel=0.01)  # and the first frame
    # Without gradients of weights one share of the linear layers is left out: 42 x 4.03 TFLOP.
    assert useful - useful_flops(cfg, sizes, lora=True) == pytest.approx(42 * 4.03e12, rel=0.01)


def test_a_gpu_of_unknown_speed_has_no_times_but_warnings(small_config):
    with seeing("Tesla T4", 0.001):
        found = estimate(small_config, clips=10)
    assert found.gpu.name == "Tesla T4"
    assert all(row["time"] == "-" for row in tables(found)["Time on 1 x Tesla T4"])
    assert any("speed of Tesla T4 is not known" in warning for warning in found.warnings)
    assert any("Tesla T4 has" in warning for warning in found.warnings)


def test_it_must_fit_the_named_gpu_and_the_visible_one():
    with seeing("NVIDIA GeForce RTX 4090", 23.5):
        found = estimate(full(), gpu="H100")
    assert found.gpu.name == "H100"
    assert any("RTX 4090 has" in warning for warning in found.warnings)


def test_full_is_told_what_does_not_fit_and_what_would(at_scale):
    assert not [text for text in at_scale.warnings if text.startswith("fine-tuning")]
    plain = estimate(override(full(), FLOAT32), gpu="A100-80GB", gpus=8)
    first, second, lean, lora = [entry for entry in plain.memory if entry.stage == "fine-tuning"]
    assert [entry.chosen for entry in (first, second, lean, lora)] == [True, False, False, False]
    assert "checkpointed" in first.how
    assert lora.total < lean.total < first.total < second.total
    assert lean.changes == {"finetune.optimizer": "adamw8bit", "finetune.weights_dtype": "bfloat16"}
    (warning,) = [text for text in plain.warnings if text.startswith("fine-tuning")]
    assert re.search(r"needs 10\d GiB per GPU, A100-80GB has 79", warning)
    assert "set finetune.optimizer to adamw8bit and finetune.weights_dtype to bfloat16: 48 GiB" in warning


def test_published_memory_of_fine_tuning(at_scale):
    """On one GPU, 43 to 45 GB of state and activations, and beside them VAE and aligners; LoRA 20.8 GB."""
    cfg = override(full(), {"finetune.batch_size": 1})
    lean, _, lora = finetuning(cfg, sizes_of(cfg), gpus=1, gpu=True)
    assert "bfloat16 8-bit AdamW, checkpointed" in lean.how
    assert lean.total / GIB == pytest.approx(45, rel=0.1)
    aligners = 4 * (sizes_of(cfg).structure + sizes_of(cfg).identity)
    assert (lora.total - aligners) / 1e9 == pytest.approx(20.8, rel=0.35)
    assert lora.changes == {"finetune.mode": "lora"}


@pytest.mark.parametrize(
    ("gpu", "gpus", "changes", "advice"),
    [
        (
            "H200",
            8,
            {"finetune.gradient_checkpointing": False},
            "set finetune.gradient_checkpointing to True",
        ),
        ("H200", 1, {}, "8 clips.*raise accumulate, use more GPUs or a smaller batch_size"),
        ("H200", 1, {}, "16 clips.*pretrain_structure.gradient_checkpointing"),
        ("RTX 4090", 8, {}, "1 clip, bfloat16.*use a GPU with more memory"),
        ("RTX 4090", 8, {}, "generation.*set model.vae_tiling to True"),
    ],
)
def test_advice_fits_what_is_too_large(gpu, gpus, changes, advice):
    found = estimate(override(full(), changes), clips=1, gpu=gpu, gpus=gpus)
    assert any(re.search(advice, warning) for warning in found.warnings), found.warnings


def test_eight_h200_can_do_all_of_it():
    assert estimate(full(), gpu="H200", gpus=8).warnings == ()


def test_checkpointed_peaks_are_those_of_one_phase():
    """Copies of all weights for one clip; for eight, what the aligners keep is more."""
    cfg, sizes = override(full(), FLOAT32), sizes_of(full())
    aligner_copies = cast_bytes(sizes.aligner, sizes.structure, trained=False)
    whole_copies = 2 * sizes.transformer
    one, one_kept, *_ = finetuning(cfg, sizes, gpus=8, gpu=True)
    eight, *_ = finetuning(cfg, sizes, gpus=1, gpu=True)
    assert one.parts["bfloat16 copies"] == whole_copies
    assert one_kept.parts["bfloat16 copies"] == whole_copies + aligner_copies
    assert eight.parts["bfloat16 copies"] == aligner_copies
    aligners = 8 * step_bytes(sizes.aligner, trained=False, precision="autocast")
    assert eight.parts["activations"] > aligners + 8 * sizes.clip.layers * sizes.clip.unit


def test_totals_are_the_sums_of_their_parts(at_scale):
    for entry in at_scale.memory:
        assert set(entry.parts) <= set(PARTS)
        assert entry.total == sum(entry.parts.values())
        assert min(entry.parts.values()) >= 0
    for time in at_scale.times:
        parts = [part for part in at_scale.work if part.stage == time.stage]
        assert time.flops == sum(part.flops for part in parts)
        assert time.seconds == pytest.approx(sum(part.seconds(at_scale.gpu) for part in parts))
    assert at_scale.caption == 226 * 4096 * 2
    assert at_scale.disk == 730_000 * (sum(at_scale.record.values()) + at_scale.caption)


def test_trainings_go_through_steps_times_batch(at_scale):
    counts = {time.stage: time.clips for time in at_scale.times}
    assert counts["fine-tuning"] == 5_000 * 8
    assert counts["structure aligner"] == 20_000 * 16
    assert counts["prepare"] == 730_000
    for time in at_scale.times:
        assert time.days == pytest.approx(time.clips * time.seconds / 8 / 86400)


def test_losses_without_weight_cost_nothing():
    def parts(changes):
        cfg = override(mini(), changes)
        return {part.part: part.flops for part in all_work(cfg, sizes_of(cfg)) if part.stage == "fine-tuning"}

    both = parts({})
    assert {"structure aligner", "identity aligner"} <= parts({"loss.weight_struct": 0}).keys()
    alone = parts({"loss.weight_struct": 0, "identity.use_depth": False})
    assert "structure aligner" not in alone
    assert "identity aligner" not in parts({"loss.weight_id": 0})
    assert parts({"loss.self_target": True})["structure aligner"] > both["structure aligner"]
    again = parts({"finetune.gradient_checkpointing": True})
    assert again["transformer, forward again"] < both["transformer, forward"]


def test_more_gpus_hold_fewer_clips():
    cfg = mini()
    one, two = (
        {entry.stage: entry for entry in all_memory(cfg, sizes_of(cfg), gpus=count, gpu=False)}
        for count in (1, 2)
    )
    tuned, shared = (found["structure aligner"].parts for found in (one, two))
    assert shared["activations"] == pytest.approx(tuned["activations"] / 2)
    assert shared["gradients"] == tuned["gradients"]


def test_an_uneven_batch_is_warned_of():
    found = estimate(mini(), clips=1, gpu="cpu", gpus=3)
    assert any("finetune.batch_size: 4 clips cannot be shared by 3 GPUs" in text for text in found.warnings)


def test_trimmed_captions_take_less_disk():
    trimmed = estimate(override(full(), {"data.trim_text": True}), clips=1, gpu="A100")
    assert trimmed.record["prompt_embeds"] == 100 * 4096 * 2
    short = estimate(override(mini(), {"data.trim_text": True}), clips=1, gpu="cpu")
    assert short.record["prompt_embeds"] == 40 * 64 * 2  # no more than the model takes


def test_a_checkpoint_at_hand_gives_its_own_sizes(tiny_folder, small_config):
    sizes = sizes_of(override(small_config, {"model.weights": str(tiny_folder)}))
    assert sizes.transformer == parameters(tiny_transformer())
    assert sizes.clip == stack_of(tiny_transformer().config, small_config.video)


@pytest.mark.parametrize("name", ["THUDM/CogVideoX-5b-I2V", "weights/cogvideox-5b-i2v/", "CogVideoX-5b-I2V"])
def test_official_names_are_known_without_weights(name):
    assert settings(name)["transformer"] is OFFICIAL["CogVideoX-5b-I2V"]


def test_an_unknown_checkpoint_is_refused():
    with pytest.raises(ValueError, match="model.weights: got 'made/up'.*CogVideoX-5b-I2V"):
        settings("made/up")


@pytest.mark.parametrize("counts", [{"clips": 0}, {"gpus": 0}])
def test_counts_below_one_are_refused(counts):
    (name,) = counts
    with pytest.raises(ValueError, match=f"{name}: got 0; expected at least 1"):
        estimate(mini(), **counts)
