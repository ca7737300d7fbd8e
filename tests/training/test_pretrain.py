"""Pretraining of the aligners: they learn, start from statistics, and come back from disk."""

import itertools
import weakref

import pytest
import torch
from training.clips import HELDOUT, TRAIN

from semrepa.config import override
from semrepa.data.dataset import StoreDataset
from semrepa.models.identity import IdentityAligner
from semrepa.models.structure import StructureAligner
from semrepa.training import pretrain as pretrain_module
from semrepa.training.floors import floors, sample
from semrepa.training.log import read_metrics
from semrepa.training.pretrain import (
    new_structure_aligner,
    pretrain_identity,
    pretrain_structure,
    warm_structure_aligner,
)

IDS = {"train_ids": TRAIN, "heldout_ids": HELDOUT}
ONE = {"train_ids": TRAIN[:2], "heldout_ids": TRAIN[:2]}


def overfit(cfg, stage, lr, steps=30, **changes):
    return override(
        cfg,
        {stage: {"steps": steps, "lr": lr, "eval_every": 1000, "schedule": "cosine", "warmup": 3}, **changes},
    )


def test_structure_aligner_overfits_one_batch(cfg, store, tmp_path):
    small = overfit(cfg, "pretrain_structure", 2e-2, steps=60)
    *_, last = pretrain_structure(small, store, tmp_path, **ONE)
    levels = read_metrics(tmp_path)[0]["floors"]["loss_struct"]
    assert last.eval["loss_struct"] < 0.8 * min(levels.values())
    assert set(last.parts) == {"loss_struct"}
    assert set(last.speed) == {"samples_per_second", "peak_memory"}


def test_noisy_structure_aligner_beats_the_mean(cfg, store, tmp_path):
    small = overfit(cfg, "pretrain_structure", 3e-2, **{"structure.input": "noisy"})
    *_, last = pretrain_structure(small, store, tmp_path, **ONE)
    levels = read_metrics(tmp_path)[0]["floors"]["loss_struct"]
    assert last.eval["loss_struct"] < levels["mean output"]
    assert {f"loss_struct@{t}" for t in range(100, 1000, 100)} < set(last.eval)
    assert StructureAligner.from_pretrained(tmp_path / "structure_aligner").config.structure_input == "noisy"


@pytest.mark.parametrize("use_depth", [True, False])
def test_identity_aligner_overfits_one_batch(cfg, store, tmp_path, use_depth):
    small = overfit(cfg, "pretrain_identity", 6e-3, **{"identity.use_depth": use_depth})
    *_, last = pretrain_identity(small, store, tmp_path, **ONE)
    levels = read_metrics(tmp_path)[0]["floors"]["loss_id"]
    assert last.eval["loss_id"] < 0.7 * min(levels.values())
    assert last.eval["cosine"] > 0.8
    saved = IdentityAligner.from_pretrained(tmp_path / "identity_aligner")
    assert saved.config.use_depth is use_depth


def test_identity_inputs_are_normalised_by_the_training_clips(cfg, store, tmp_path):
    known = sample(store, TRAIN)
    joined = torch.cat([known.latents, known.depth_latents], dim=2)
    stream = pretrain_identity(cfg, store, tmp_path, **IDS)
    assert next(stream).speed["samples_per_second"] > 0
    stream.close()
    aligner = IdentityAligner.from_pretrained(tmp_path / "identity_aligner")
    assert torch.allclose(aligner.mean, joined.mean(dim=(0, 1, 3, 4)), atol=1e-5)


def test_given_aligner_is_the_start_and_stays_as_it_is(cfg, store, tmp_path):
    given = new_structure_aligner(cfg)
    before = [value.clone() for value in given.state_dict().values()]
    still = override(cfg, {"pretrain_structure.lr": 0.0, "pretrain_structure.steps": 1})
    list(pretrain_structure(still, store, tmp_path, aligner=given, **IDS))
    saved = StructureAligner.from_pretrained(tmp_path / "structure_aligner")
    assert all(map(torch.equal, saved.state_dict().values(), before))
    moving = override(cfg, {"pretrain_structure.steps": 1})
    list(pretrain_structure(moving, store, tmp_path / "moved", aligner=given, **IDS))
    assert all(map(torch.equal, given.state_dict().values(), before))


def test_runs_repeat_and_resume_exactly(cfg, store, tmp_path):
    noisy = override(cfg, {"structure.input": "noisy"})
    whole = [log.loss for log in pretrain_structure(noisy, store, tmp_path / "whole", **IDS)]
    stream = pretrain_structure(noisy, store, tmp_path / "parts", **IDS)
    begun = [log.loss for log in itertools.islice(stream, 2)]
    stream.close()
    assert begun + [log.loss for log in pretrain_structure(noisy, store, tmp_path / "parts", **IDS)] == whole


def test_faceless_clips_do_not_count(cfg, store, tmp_path):
    *_, last = pretrain_identity(cfg, store, tmp_path, train_ids=("a", "faceless"), heldout_ids=HELDOUT)
    alone = floors(store, ("x",), ("a",))["loss_id"]
    assert read_metrics(tmp_path)[0]["floors"]["loss_id"] == pytest.approx(alone)
    assert last.loss == last.parts["loss_id"] > 0


def test_floors_are_what_trivial_answers_score(store):
    levels = floors(store, TRAIN, TRAIN)
    batch = sample(store, TRAIN)
    depth = batch.depth_latents
    assert levels["loss_struct"]["zero output"] == pytest.approx(depth.square().mean().item())
    assert levels["loss_struct"]["mean output"] < levels["loss_struct"]["zero output"]
    assert levels["loss_struct"]["copy of the video"] > 0
    assert levels["loss_id"]["zero output"] == pytest.approx(0.035, abs=0.002)


def test_noisy_floors_match_drawn_noise(store, parts):
    from semrepa.diffusion import add_noise, alphas_cumprod
    from semrepa.training.evaluate import eval_timesteps

    table = alphas_cumprod(parts.noise_scheduler, torch.device("cpu"))
    batch = sample(store, TRAIN)
    scores = {"zero output": [], "copy of the video": []}
    for level in eval_timesteps(len(table)):
        noise = torch.randn(batch.latents.shape)
        timesteps = torch.full((len(noise),), level)
        target = add_noise(batch.depth_latents, noise, timesteps, table)
        video = add_noise(batch.latents, noise, timesteps, table)
        scores["zero output"].append(target.square().mean())
        scores["copy of the video"].append((target - video).square().mean())
    levels = floors(store, TRAIN, TRAIN, table)["loss_struct"]
    for name, drawn in scores.items():
        assert levels[name] == pytest.approx(torch.stack(drawn).mean().item(), rel=0.05)


def test_no_heldout_clips_give_no_evaluation(cfg, store, tmp_path):
    logs = list(pretrain_identity(cfg, store, tmp_path, train_ids=TRAIN))
    assert all(not log.eval for log in logs)


def test_unknown_clips_are_named_at_once(cfg, store, tmp_path):
    with pytest.raises(ValueError, match=r"1 clips without a record.*ghost.*run prepare"):
        pretrain_identity(cfg, store, tmp_path, train_ids=("a", "ghost"))
    with pytest.raises(ValueError, match="got no clips"):
        pretrain_structure(cfg, store, tmp_path, train_ids=())


def test_sample_is_spread_over_many_clips(store, monkeypatch):
    monkeypatch.setattr("semrepa.training.floors.MOST_CLIPS", 2)
    assert sample(store, TRAIN).ids == ("a", "d")
    assert len(StoreDataset(store, TRAIN)) == 5


WARM = {"structure.warm_start": True, "pretrain_structure.steps": 2}


def test_warm_start_begins_with_the_first_layers_of_the_base(cfg, store, parts, tmp_path):
    still = override(cfg, {**WARM, "pretrain_structure.lr": 0.0})
    list(pretrain_structure(still, store, tmp_path, **IDS))
    saved = StructureAligner.from_pretrained(tmp_path / "structure_aligner").transformer.state_dict()
    base = parts.transformer.state_dict()
    assert parts.transformer.config.num_layers > still.structure.num_layers
    taken = [name for name in saved if name.startswith(("time_embedding.", "transformer_blocks."))]
    assert len(taken) > 10
    assert all(torch.equal(saved[name], base[name]) for name in taken)
    assert torch.equal(saved["patch_embed.proj.weight"], base["patch_embed.proj.weight"][:, :16])
    assert not any(name.startswith("transformer_blocks.1.") for name in saved)


def test_warm_start_trains_on_and_repeats(cfg, store, tmp_path):
    warm, cold = override(cfg, WARM), override(cfg, {"pretrain_structure.steps": 2})
    logs = list(pretrain_structure(warm, store, tmp_path / "warm", **IDS))
    assert [log.loss for log in pretrain_structure(warm, store, tmp_path / "again", **IDS)] == [
        log.loss for log in logs
    ]
    assert next(pretrain_structure(cold, store, tmp_path / "cold", **IDS)).loss != logs[0].loss
    start = warm_structure_aligner(warm).transformer.transformer_blocks[0].attn1.to_q.weight
    trained = StructureAligner.from_pretrained(tmp_path / "warm" / "structure_aligner")
    assert not torch.equal(trained.transformer.transformer_blocks[0].attn1.to_q.weight, start)


def test_base_is_freed_after_the_warm_start(cfg, monkeypatch):
    load, seen = pretrain_module.load_base, []

    def watched(*args):
        parts = load(*args)
        seen.append(weakref.ref(parts.transformer))
        return parts

    monkeypatch.setattr(pretrain_module, "load_base", watched)
    assert warm_structure_aligner(override(cfg, WARM)).training
    assert seen[0]() is None


def test_warm_start_is_part_of_the_recipe(cfg, store, tmp_path):
    stream = pretrain_structure(override(cfg, WARM), store, tmp_path, **IDS)
    next(stream)
    stream.close()
    with pytest.raises(ValueError, match=r"structure\.warm_start: checkpoint True, now False"):
        next(pretrain_structure(override(cfg, {"pretrain_structure.steps": 2}), store, tmp_path, **IDS))
    assert [log.step for log in pretrain_structure(override(cfg, WARM), store, tmp_path, **IDS)] == [2]


def test_warm_start_refuses_another_width_and_a_second_start(cfg, store, tmp_path):
    wide = override(cfg, {**WARM, "structure.num_heads": 4})
    with pytest.raises(ValueError, match=r"expected shape .* make the aligner with the backbone's num_heads"):
        pretrain_structure(wide, store, tmp_path, **IDS)
    given = new_structure_aligner(cfg)
    with pytest.raises(ValueError, match=r"got an aligner to start from and structure\.warm_start=True"):
        pretrain_structure(override(cfg, WARM), store, tmp_path, aligner=given, **IDS)


def test_gradient_checkpointing_gives_the_same_aligner(cfg, store, tmp_path):
    short = {"pretrain_structure.steps": 2}
    kept = [log.loss for log in pretrain_structure(override(cfg, short), store, tmp_path / "kept", **IDS)]
    switched = override(cfg, {**short, "pretrain_structure.gradient_checkpointing": True})
    again = [log.loss for log in pretrain_structure(switched, store, tmp_path / "again", **IDS)]
    assert again == pytest.approx(kept, rel=1e-3)
    with pytest.raises(ValueError, match="IdentityAligner does not support gradient checkpointing"):
        pretrain_identity(
            override(cfg, {"pretrain_identity.gradient_checkpointing": True}), store, tmp_path, **IDS
        )
