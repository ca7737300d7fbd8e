"""LoRA: only the small matrices move, and the stock pipeline takes them."""

import copy
import itertools

import pytest
import torch
from safetensors.torch import load_file
from training.clips import HELDOUT, TRAIN

from semrepa.config import override
from semrepa.data.index import ClipRow
from semrepa.generate import finetuned_folder, generate, with_transformer
from semrepa.models.cogvideox import load_cogvideox, pipeline
from semrepa.models.lora import add_lora, load_lora
from semrepa.training.checkpoint import latest_checkpoint
from semrepa.training.finetune import finetune

LORA = {"finetune": {"mode": "lora", "lora_rank": 4, "lora_alpha": 6.0, "lr": 1e-2}}


@pytest.fixture
def run(cfg, store, parts, aligners, tmp_path):
    def start(name="run", changes=None, **options):
        inputs = {"train_ids": TRAIN, "parts": parts, "aligners": aligners, **options}
        return finetune(override(override(cfg, LORA), changes or {}), store, tmp_path / name, **inputs)

    return start


def sampled(pipe, prompt="a person walks"):
    return pipe(
        image=torch.full((1, 3, 32, 48), 0.5),
        prompt=prompt,
        height=32,
        width=48,
        num_frames=9,
        num_inference_steps=2,
        guidance_scale=1.0,
        generator=torch.Generator().manual_seed(1),
        max_sequence_length=8,
        output_type="pt",
    ).frames


def test_stock_pipeline_loads_what_was_trained(run, parts, tiny_folder, tmp_path):
    list(run())
    stock = pipeline(load_cogvideox(tiny_folder))
    plain = sampled(stock)
    stock.load_lora_weights(tmp_path / "run" / "lora")
    theirs = sampled(stock)
    ours = sampled(pipeline(with_transformer(parts, tmp_path / "run")))
    assert torch.equal(theirs, ours)
    assert (theirs - plain).abs().max() > 1e-3
    merged = copy.deepcopy(parts.transformer)
    for name, module in merged.named_modules():
        if name.endswith(("to_q", "to_k", "to_v", "to_out.0")):
            saved = load_file(tmp_path / "run" / "lora" / "pytorch_lora_weights.safetensors")
            down, up = (saved[f"transformer.{name}.lora_{x}.weight"] for x in "AB")
            module.weight.data += 6 / 4 * up @ down
    by_hand = sampled(pipeline(with_transformer(parts, merged)))
    torch.testing.assert_close(by_hand, ours, rtol=0, atol=1e-4)


def test_generation_takes_a_lora_folder_like_any_other(run, parts, cfg, tmp_path, monkeypatch):
    list(run())
    monkeypatch.setattr(
        "semrepa.generate.read_first_frames",
        lambda cfg, rows: torch.full((1, 3, 32, 48), 99, dtype=torch.uint8),
    )
    row = ClipRow(id="a", path=tmp_path / "a.mp4", caption="a person")
    before = {name: value.clone() for name, value in parts.transformer.state_dict().items()}
    (made,) = generate(cfg, tmp_path / "run", [row], parts=parts)
    (again,) = generate(cfg, tmp_path / "run" / "lora", [row], parts=parts)
    (base,) = generate(cfg, None, [row], parts=parts)
    assert torch.equal(made.frames, again.frames)
    assert not torch.equal(made.frames, base.frames)
    assert parts.transformer.state_dict().keys() == before.keys()


def test_only_the_matrices_are_trained_and_saved(run, parts, tmp_path):
    list(run(heldout_ids=HELDOUT))
    saved = load_file(latest_checkpoint(tmp_path / "run") / "model.safetensors")
    assert saved
    assert all("lora_" in name for name in saved if not name.endswith("pos_embedding"))
    assert sum(value.numel() for value in saved.values()) < 0.3 * parts.transformer.num_parameters()
    assert all("lora_" not in name for name, _ in parts.transformer.named_parameters())
    assert not (tmp_path / "run" / "transformer").exists()


def test_resume_and_average_of_lora_are_exact(run, tmp_path):
    changes = {"finetune.ema": 0.9}
    whole = [(log.loss, log.grad_norm) for log in run("whole", changes)]
    stream = run("parts", changes)
    begun = [(log.loss, log.grad_norm) for log in itertools.islice(stream, 2)]
    stream.close()
    assert begun + [(log.loss, log.grad_norm) for log in run("parts", changes)] == whole
    files = [tmp_path / name / "lora" / "pytorch_lora_weights.safetensors" for name in ("whole", "parts")]
    one, other = map(load_file, files)
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_learning_rate_zero_leaves_outputs_identical(run, parts, tmp_path):
    list(run(changes={"finetune.lr": 0.0}))
    ours = sampled(pipeline(with_transformer(parts, tmp_path / "run")))
    assert torch.equal(ours, sampled(pipeline(parts)))


def test_other_mode_replaces_the_folder(run, tmp_path):
    list(run(changes={"finetune.steps": 1}))
    assert finetuned_folder(tmp_path / "run").name == "lora"
    list(run(changes={"finetune": {"steps": 1, "mode": "full"}}, resume=False))
    assert finetuned_folder(tmp_path / "run").name == "transformer"
    assert not (tmp_path / "run" / "lora").exists()


def test_what_is_no_layer_or_no_lora_is_named(parts, tmp_path):
    with pytest.raises(ValueError, match=r"lora_targets: got to_x, which no layer is called"):
        add_lora(copy.deepcopy(parts.transformer), rank=2, alpha=2, targets=["to_q", "to_x"])
    with pytest.raises(FileNotFoundError, match=r"holds no pytorch_lora_weights"):
        load_lora(copy.deepcopy(parts.transformer), tmp_path)
