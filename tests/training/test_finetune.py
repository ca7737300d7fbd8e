"""Fine-tuning a tiny transformer with frozen aligners, end to end."""

import dataclasses
import itertools
import shutil
import weakref

import pytest
import torch
from safetensors.torch import load_file
from training.clips import HELDOUT, TRAIN

from semrepa.config import Config, override
from semrepa.diffusion import alphas_cumprod
from semrepa.models.transformer import compile_blocks
from semrepa.training import finetune as finetune_module
from semrepa.training.alignment import Aligners
from semrepa.training.combined import CombinedObjective, Frozen
from semrepa.training.finetune import finetune
from semrepa.training.log import read_metrics
from semrepa.training.portion import portions
from semrepa.training.sources import load_aligners

IDS = {"train_ids": TRAIN, "heldout_ids": HELDOUT}


@pytest.fixture
def run(cfg, store, parts, aligners, tmp_path):
    """A function that starts a fine-tuning with some changes to the config."""

    def start(name="run", changes=None, **options):
        inputs = {**IDS, "parts": parts, "aligners": aligners, **options}
        return finetune(override(cfg, changes or {}), store, tmp_path / name, **inputs)

    return start


@pytest.fixture
def objective(cfg, parts, aligners):
    frozen = Frozen(
        vae=parts.vae,
        aligners=aligners,
        alphas_cumprod=alphas_cumprod(parts.noise_scheduler, torch.device("cpu")),
        empty_prompt=torch.zeros(1, 8, 16),
    )
    return CombinedObjective(parts.transformer.requires_grad_(True), frozen, cfg)


@pytest.fixture
def with_changes(objective, cfg):
    """A function that gives the objective with other settings or aligners."""

    def build(changes, aligners=None):
        frozen = (
            objective.frozen if aligners is None else dataclasses.replace(objective.frozen, aligners=aligners)
        )
        return CombinedObjective(objective.transformer, frozen, override(cfg, changes))

    return build


def whole(objective, batch, step=1, seed=0):
    """A step's batch in one portion."""
    (made,) = portions([batch], objective.count, seed=seed, step=step)
    return made


def state(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(a, b):
    return all(torch.equal(value, b[name]) for name, value in a.items())


def test_only_the_transformer_moves(run, parts, aligners, tmp_path):
    frozen = (aligners.structure, aligners.identity, parts.vae, parts.text_encoder, parts.transformer)
    before = [state(module) for module in frozen]
    logs = list(run(heldout_ids=()))
    assert len(logs) == 5
    assert all(same(old, state(module)) for old, module in zip(before, frozen, strict=True))
    assert all(p.grad is None for module in frozen[:4] for p in module.parameters())
    moved = type(parts.transformer).from_pretrained(tmp_path / "run" / "transformer")
    assert not same(state(moved), before[4])


def test_parts_are_logged_raw_gated_and_weighted(run, tmp_path):
    log = next(run(changes={"loss.gate": "snr"}))
    kinds = {f"{kind}_{name}" for kind in ("loss", "gated", "weighted") for name in ("struct", "id")}
    more = {f"{kind}_{name}" for kind in ("active", "weight") for name in ("struct", "id")}
    idle = {"loss_id", "gated_id"} if log.parts["active_id"] == 0 else set()
    assert set(log.parts) == {"loss_diff", *kinds, *more} - idle
    assert (log.parts["weight_struct"], log.parts["weight_id"]) == (0.01, 1.0)
    weighted = log.parts["loss_diff"] + log.parts["weighted_struct"] + log.parts["weighted_id"]
    assert log.loss == pytest.approx(weighted, rel=1e-5)
    start = read_metrics(tmp_path / "run")[0]
    assert {"loss_diff", "loss_struct", "loss_id", "loss_diff@100", "loss_id@900"} <= set(start["eval"])
    assert start["floors"] == {"loss_id": {"zero output": 0.035}}


def test_first_step_of_weight_zero_is_the_plain_step(with_changes, objective, batch):
    def gradients(weights, aligners):
        made = with_changes({"loss": {"weight_struct": weights, "weight_id": weights}}, aligners)
        made.zero_grad()
        loss, _ = made(whole(made, batch))
        loss.backward()
        return {name: p.grad.clone() for name, p in made.named_parameters() if p.grad is not None}

    full = objective.frozen.aligners
    plain, zero, aligned = gradients(0, Aligners()), gradients(0, full), gradients(1, full)
    assert plain
    assert same(plain, zero)
    assert not same(plain, aligned)


@pytest.mark.parametrize("structure", ["clean", "noisy"])
def test_alignment_alone_reaches_the_transformer(with_changes, batch, structure):
    objective = with_changes({"structure.input": structure})
    losses = objective.losses(objective.predict(whole(objective, batch)), batch)
    for name in ("struct", "id"):
        objective.zero_grad()
        losses[name].sum().backward(retain_graph=True)
        assert objective.transformer.proj_out.weight.grad.abs().sum() > 0, name


def test_conditions_are_dropped_and_noised_from_the_place_alone(with_changes, batch, monkeypatch):
    seen = []

    def remember(transformer, noisy, image_latents, prompt_embeds, timesteps):
        seen.append((image_latents, prompt_embeds, timesteps, noisy))
        return noisy

    monkeypatch.setattr("semrepa.training.combined.predict_v", remember)
    objective = with_changes({"image.caption_dropout": 1.0, "image.dropout": 1.0})
    objective.predict(whole(objective, batch))
    assert seen[0][0].abs().max() == 0
    assert torch.equal(seen[0][1], objective.frozen.empty_prompt.expand_as(batch.prompt_embeds))
    objective = with_changes({"image.caption_dropout": 0.0, "image.dropout": 0.0})
    for step in (1, 1, 2):
        torch.randn(1)
        objective.predict(whole(objective, batch, step))
    once, again, later = seen[1:]
    assert torch.equal(once[1], batch.prompt_embeds)
    assert all(map(torch.equal, once, again))
    assert not torch.equal(once[0][:, 0], later[0][:, 0])
    assert once[0][:, 1:].abs().max() == 0 < once[0][:, 0].abs().min(dim=-1).values.max()


def test_learning_rate_zero_changes_nothing(run, parts, tmp_path):
    list(run(changes={"finetune.lr": 0.0, "finetune.steps": 1}))
    saved = type(parts.transformer).from_pretrained(tmp_path / "run" / "transformer")
    assert same(state(parts.transformer), state(saved))
    lines = read_metrics(tmp_path / "run")
    assert lines[0]["eval"] == lines[-1]["eval"]


def test_resume_at_any_step_is_bit_exact(run, tmp_path):
    whole = [(log.loss, log.grad_norm) for log in run("whole", heldout_ids=())]
    stopped_at = int(torch.randint(1, 5, ()))
    stream = run("parts", heldout_ids=())
    begun = [(log.loss, log.grad_norm) for log in itertools.islice(stream, stopped_at)]
    stream.close()
    assert (tmp_path / "parts" / "transformer").is_dir()
    assert begun + [(log.loss, log.grad_norm) for log in run("parts", heldout_ids=())] == whole
    files = [
        tmp_path / name / "transformer" / "diffusion_pytorch_model.safetensors" for name in ("whole", "parts")
    ]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_other_aligners_are_refused_on_resume(run, aligners, tmp_path):
    stream = run()
    next(stream)
    stream.close()
    with torch.no_grad():
        aligners.structure.transformer.proj_out.bias.add_(1)
    with pytest.raises(ValueError, match=r"start\.structure: checkpoint"):
        next(run(changes={"loss.weight_id": 7.0}))
    assert Config.load(tmp_path / "run" / "config.json").loss.weight_id == 1.0


def test_batch_without_faces_trains(run):
    logs = list(run(train_ids=("faceless",), heldout_ids=("faceless",), changes={"finetune.steps": 1}))
    assert all(log.parts["loss_id"] == 0 for log in logs)
    assert "loss_id" not in logs[-1].eval
    assert logs[-1].eval["loss_struct"] > 0


def test_balance_is_measured_where_asked_and_changes_nothing(run):
    short = {"changes": {"finetune.steps": 3}, "heldout_ids": ()}
    without = [log.loss for log in run("without", **short)]
    logs = list(run("with", balance_every=2, **short))
    assert [log.loss for log in logs] == without
    assert ["grad_struct" in log.parts for log in logs] == [True, False, True]
    assert {"grad_diff", "grad_id", "cos_diff_struct", "cos_diff_id", "cos_struct_id"} <= set(logs[0].parts)


def test_aligners_for_something_else_are_refused(run, aligners):
    with pytest.raises(
        ValueError, match=r"structure\.input: got 'noisy' with an aligner trained with 'clean'"
    ):
        run(changes={"structure.input": "noisy"})
    with pytest.raises(ValueError, match=r"identity\.use_depth: got False"):
        run(changes={"identity.use_depth": False})
    with pytest.raises(ValueError, match=r"depth\.colormap: got 'gray'"):
        run(changes={"depth.colormap": "gray"})
    with pytest.raises(ValueError, match="no structure aligner"):
        run(aligners=Aligners(identity=aligners.identity))


def test_aligner_folder_without_weights_is_named(cfg, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"structure\.weights: got .*nowhere"):
        load_aligners(override(cfg, {"structure.weights": str(tmp_path / "nowhere")}))


def test_text_encoder_is_freed_before_the_first_step(run, monkeypatch):
    load, seen = finetune_module.load_base, {}

    def watched(cfg):
        parts = load(cfg)
        seen.update(
            {name: weakref.ref(getattr(parts, name)) for name in ("text_encoder", "vae", "transformer")}
        )
        return parts

    monkeypatch.setattr(finetune_module, "load_base", watched)
    stream = run(parts=None)
    assert seen["text_encoder"]() is None
    assert seen["vae"]() is not None
    assert seen["transformer"]() is not None
    next(stream)
    stream.close()


def test_gradient_checkpointing_gives_the_same_run(run, parts, float32, monkeypatch):
    """Blocks of the transformer run once more in each step; it may be switched when a run goes on."""
    calls, blocks = [], type(parts.transformer.transformer_blocks[0])
    forward = blocks.forward
    monkeypatch.setattr(blocks, "forward", lambda self, *a, **k: calls.append(1) or forward(self, *a, **k))

    def numbers(name, *, on):
        calls.clear()
        switch = {"finetune.gradient_checkpointing": on, "finetune.steps": 3}
        logs = list(run(name, switch, heldout_ids=()))
        return [(log.loss, log.grad_norm, *log.parts.values()) for log in logs], len(calls)

    (kept, few), (again, many) = numbers("kept", on=False), numbers("again", on=True)
    assert again == kept
    assert many - few == 3 * len(parts.transformer.transformer_blocks)
    stream = run("switched", {"finetune.steps": 3}, heldout_ids=())
    next(stream)
    stream.close()
    assert numbers("switched", on=True)[0] == kept[1:]


def test_balance_is_the_same_with_gradient_checkpointing(objective, batch, float32):
    clips = [whole(objective, batch)]
    plain = objective.balance(clips)
    objective.transformer.enable_gradient_checkpointing()
    assert objective.balance(clips) == plain
    objective.transformer.disable_gradient_checkpointing()


def test_frozen_aligner_can_save_memory_too(run, aligners, float32, monkeypatch):
    calls, block = [], type(aligners.structure.transformer.transformer_blocks[0])
    forward = block.forward
    monkeypatch.setattr(block, "forward", lambda self, *a, **k: calls.append(1) or forward(self, *a, **k))

    def numbers(name, **changes):
        calls.clear()
        logs = list(run(name, {"finetune.steps": 2, **changes}, heldout_ids=()))
        return [(log.loss, log.grad_norm) for log in logs], len(calls)

    (kept, few), (again, many) = (
        numbers("kept"),
        numbers("again", **{"structure.gradient_checkpointing": True}),
    )
    assert again == kept
    assert many - few == 2 * len(aligners.structure.transformer.transformer_blocks)
    aligners.structure.disable_gradient_checkpointing()


def test_bfloat16_weights_are_trained_and_go_on_exactly(run, parts, tmp_path):
    low = {"finetune": {"weights_dtype": "bfloat16", "steps": 4}}
    whole = [(log.loss, log.grad_norm) for log in run("whole", low, heldout_ids=())]
    stream = run("parts", low, heldout_ids=())
    begun = [(log.loss, log.grad_norm) for log in itertools.islice(stream, 2)]
    stream.close()
    assert begun + [(log.loss, log.grad_norm) for log in run("parts", low, heldout_ids=())] == whole
    saved = load_file(tmp_path / "whole" / "transformer" / "diffusion_pytorch_model.safetensors")
    assert {value.dtype for value in saved.values()} == {torch.bfloat16}
    assert read_metrics(tmp_path / "whole")[0]["optimizer"].endswith("bfloat16 weights rounded at random")


@pytest.mark.slow
def test_compiled_blocks_give_the_same_losses(run, float32):
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        pytest.skip("torch.compile needs a C++ compiler on a CPU")
    short = {"finetune.steps": 2, "loss": {"weight_struct": 0.0, "weight_id": 0.0}}
    eager = [(log.loss, log.grad_norm) for log in run("eager", short, heldout_ids=())]
    compiled = run("compiled", {**short, "finetune.compile": True}, heldout_ids=())
    found = [(log.loss, log.grad_norm) for log in compiled]
    assert found == [pytest.approx(pair, rel=1e-4) for pair in eager]


def test_a_network_without_transformer_blocks_is_not_compiled(aligners):
    with pytest.raises(ValueError, match="compile: got a IdentityAligner, which has no transformer blocks"):
        compile_blocks(aligners.identity)


def test_learning_rate_zero_gives_identical_answers(run, parts, objective, batch, tmp_path):
    list(run(changes={"finetune": {"lr": 0.0, "steps": 2, "weight_decay": 0.5}}))
    saved = type(parts.transformer).from_pretrained(tmp_path / "run" / "transformer")
    other = CombinedObjective(saved, objective.frozen, objective.cfg)
    with torch.no_grad():
        ours, theirs = (made.predict(whole(made, batch)).v_pred for made in (objective, other))
    assert torch.equal(ours, theirs)
