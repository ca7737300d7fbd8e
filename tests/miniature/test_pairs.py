"""Cells of Table 3 in small: trained alike, skipped when finished, resumed, refused when different."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from miniature.small_clips import PatchTeacher, paint_clips
from safetensors.torch import load_file

from semrepa.config import override
from semrepa.data.dataset import StoreDataset
from semrepa.miniature import clips as rendering
from semrepa.miniature import pairs, portraits
from semrepa.miniature.fit import Recipe
from semrepa.training.log import read_metrics

PROTOCOL = pairs.Protocol(
    people=6, portrait_steps=4, clips=2, clip_frames=9, clip_steps=2, clip_batch=2, heldout=2
)


@pytest.fixture(autouse=True)
def _small(monkeypatch, small_config, tiny_folder):
    """Batches of two, the tiny base model, and a configuration that fits it."""
    monkeypatch.setattr(portraits, "BATCH", 2)
    monkeypatch.setattr(portraits, "LOGGED", 2)
    monkeypatch.setattr(pairs, "RECIPE", Recipe(steps=9, lr=1e-3, warmup=1, save_every=2))
    cfg = override(small_config, {"pretrain_identity.resume": True})
    monkeypatch.setattr(
        pairs, "build_config", lambda folder: override(cfg, {"model.weights": str(tiny_folder)})
    )


@pytest.fixture
def shared(store):
    return pairs.Clips(
        store=store, train_ids=("clip00000", "clip00001"), heldout_ids=("clip00002", "clip00003")
    )


@pytest.fixture
def faces(store):
    """Five portraits: the first latent frames of the clips."""
    batch = StoreDataset(store, store.ids()).batch(range(5))
    first = {"latents": batch.latents[:, :1], "depth_latents": batch.depth_latents[:, :1]}
    seen = torch.ones(5, 1, dtype=torch.bool)
    return replace(
        batch,
        **first,
        id_embeds=torch.nn.functional.normalize(torch.randn(5, 1, 512), dim=-1),
        face_mask=seen,
    )


def run(folder, faces, shared, variant="with_depth", seed=3, protocol=PROTOCOL):
    cfg = pairs.cell_config(protocol, seed, variant)
    return pairs.train_cell(cfg, protocol, faces, shared, pairs.cell_folder(folder, seed, variant))


def test_both_stages_take_the_steps_of_the_protocol(tmp_path, faces, shared):
    trained = run(tmp_path, faces, shared)
    assert trained == tmp_path / "seed_3" / "with_depth" / "identity_aligner"
    log = [json.loads(line) for line in (trained.parent / "portraits.jsonl").read_text().splitlines()]
    assert log[-1]["step"] == PROTOCOL.portrait_steps
    assert max(row["step"] for row in read_metrics(trained.parent)) == PROTOCOL.clip_steps
    assert pairs.training_seconds(trained.parent) > 0
    assert json.loads((trained / "config.json").read_text())["use_depth"] is True


def test_both_variants_see_the_same_clips_in_the_same_order(tmp_path, faces, shared, monkeypatch):
    seen = {}
    for variant in pairs.VARIANTS:
        order = seen.setdefault(variant, [])

        def note(batch, generators, order=order, **limits):
            order.append((batch.ids, [g.initial_seed() for g in generators]))
            return batch

        monkeypatch.setattr("semrepa.training.objectives.disturb", note)
        run(tmp_path, faces, shared, variant)
    assert len(seen["with_depth"]) == PROTOCOL.portrait_steps + PROTOCOL.clip_steps
    assert seen["with_depth"] == seen["without_depth"]


def test_a_finished_cell_is_not_trained_again(tmp_path, faces, shared, monkeypatch):
    trained = run(tmp_path, faces, shared)
    before = load_file(trained / "diffusion_pytorch_model.safetensors")
    monkeypatch.setattr(pairs, "train_on_portraits", lambda *_, **__: pytest.fail("trained again"))
    assert run(tmp_path, faces, shared) == trained
    after = load_file(trained / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_a_stopped_cell_ends_as_one_that_was_not(tmp_path, faces, shared, monkeypatch):
    whole = run(tmp_path / "whole", faces, shared)

    class StoppedError(Exception):
        pass

    def stop(*_, **__):
        raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(pairs, "pretrain_identity", stop)
        with pytest.raises(StoppedError):
            run(tmp_path / "halves", faces, shared)
    with pytest.raises(FileNotFoundError, match="no finished training"):
        pairs.training_seconds(pairs.cell_folder(tmp_path / "halves", 3, "with_depth"))
    halves = run(tmp_path / "halves", faces, shared)
    first, second = (load_file(folder / "diffusion_pytorch_model.safetensors") for folder in (whole, halves))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_other_settings_are_refused(tmp_path, faces, shared):
    run(tmp_path, faces, shared)
    longer = replace(PROTOCOL, clip_steps=3)
    with pytest.raises(ValueError, match="clip_steps: 2 there, now 3.*use another run folder"):
        run(tmp_path, faces, shared, protocol=longer)


def test_an_unknown_variant_is_refused():
    with pytest.raises(ValueError, match="got variant 'deep'; expected with_depth or without_depth"):
        pairs.cell_config(PROTOCOL, 0, "deep")


def test_material_is_made_once(tmp_path, monkeypatch, parts):
    teacher, shown, folders = PatchTeacher(), [], {}

    def load_clips(folder, *, first_seed, count, workers, person_shift=0, num_frames=None):
        shown.append((first_seed, first_seed + person_shift, count))
        folders.setdefault(folder, num_frames)
        return paint_clips(count, frames=num_frames or 9)

    def render_portraits(folder, people, workers):
        painted = paint_clips(people)
        return torch.from_numpy(painted.frames[:, :1]), torch.from_numpy(
            painted.depth[:, :1].astype(np.float32)
        )

    monkeypatch.setattr(pairs, "load_clips", load_clips)
    monkeypatch.setattr(pairs, "render_portraits", render_portraits)
    monkeypatch.setattr(pairs, "load_cogvideox", lambda folder: parts)
    monkeypatch.setattr(pairs, "InsightFaceTeacher", lambda *_, **__: teacher)
    short = replace(PROTOCOL, clip_frames=5)
    made = pairs.prepare_clips(short, tmp_path)
    heldout, again, train = shown
    assert heldout[0] != again[0] and heldout[1] == again[1] == rendering.HELDOUT_SEED
    assert train == (rendering.TRAIN_SEED, rendering.TRAIN_SEED, 2)
    assert list(folders.values()) == [None, 5], "clips of other lengths lie in other folders"
    assert made.store.read(made.train_ids[0])["face_mask"].shape == (5,)
    assert made.people == ["00000", "00001"] * 2
    assert made.heldout_boxes().shape == (4, 9, 4)
    portraits_made = pairs.prepare_portraits(PROTOCOL, tmp_path)
    assert len(portraits_made.ids) == 6
    asked = teacher.asked
    again_made = pairs.prepare_portraits(PROTOCOL, tmp_path)
    pairs.prepare_clips(short, tmp_path)
    assert teacher.asked == asked
    assert again_made.ids == portraits_made.ids
    assert torch.equal(again_made.latents, portraits_made.latents)
