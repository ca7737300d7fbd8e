"""Layers: features in the places of their targets, and planted answers found in the layer that holds them."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from semrepa.analysis.layers import LayerData, collect, faces_by_frame, score_layers
from semrepa.training.combined import CombinedObjective

DRAW = torch.Generator().manual_seed(0)


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=DRAW)


def planted(clips: int, people: int, prefix: str) -> LayerData:
    """Layer 0 knows nothing; layer 1 holds depth in its patches and the person in its frames, turned."""
    faces = normalize(randn(people, 8), dim=1)
    who = torch.arange(clips) % people
    face = faces[who][:, None].expand(-1, 3, -1)
    depth = randn(clips, 20, 4)
    turn = torch.linalg.qr(torch.randn(12, 12, generator=torch.Generator().manual_seed(5)))[0]
    knowing = torch.cat([depth, 0.01 * randn(clips, 20, 8)], dim=2) @ turn
    shown = torch.cat([face, 0.01 * randn(clips, 3, 4)], dim=2) @ turn
    return LayerData(
        ids=tuple(f"{prefix}{place}" for place in range(clips)),
        tokens=[randn(clips, 20, 12), knowing],
        frames=[randn(clips, 3, 12), shown],
        depth=depth,
        face=face,
        seen=torch.ones(clips, 3, dtype=torch.bool),
    )


def test_a_layer_that_holds_the_answers_is_found():
    known, heldout = planted(60, 60, "k"), planted(20, 10, "h")
    people = {name: name for name in known.ids} | {f"h{place}": place % 10 for place in range(20)}
    blind, knowing = score_layers(known, heldout, people)
    assert (blind.layer, knowing.layer) == (0, 1)
    assert knowing.depth.value > 0.99 and abs(blind.depth.value) < 0.05
    assert knowing.identity.value > 0.99 and abs(blind.identity.value) < 0.2
    assert knowing.auc > 0.99 and abs(blind.auc - 0.5) < 0.2
    assert knowing.cknna_depth > 0.9 and abs(blind.cknna_depth) < 0.1
    assert knowing.cknna_identity > 0.9 and abs(blind.cknna_identity) < 0.2
    assert knowing.depth.interval(blind.depth).low > 0.9
    assert set(knowing.numbers()) == {"depth_r2", "identity_cosine", "auc", "cknna_depth", "cknna_identity"}


def test_frames_without_a_face_do_not_count():
    known, heldout = planted(30, 30, "k"), planted(10, 10, "h")
    hidden = torch.zeros_like(heldout.seen)
    hidden[:, 0] = True
    heldout.frames[1][:, 1:] = 1e3  # would spoil everything
    people = {name: name for name in (*known.ids, *heldout.ids)}
    values = {name: getattr(heldout, name) for name in ("ids", "tokens", "frames", "depth", "face")}
    scores = score_layers(known, LayerData(**values, seen=hidden), people)
    assert scores[1].identity.value > 0.99
    assert math.isnan(scores[1].auc)  # one frame of each person: no pair of one person


@pytest.fixture
def averaging(models) -> CombinedObjective:
    """Its patch embedding is the mean of the noisy latents of each patch, channel by channel."""
    model = models["base"]
    projection = model.transformer.patch_embed.proj
    before = {name: value.clone() for name, value in projection.state_dict().items()}
    with torch.no_grad():
        projection.weight.zero_()
        projection.bias.zero_()
        for channel in range(16):
            projection.weight[channel, channel] = 0.25
    yield model
    projection.load_state_dict(before)


def test_features_and_depth_are_of_the_same_patch(averaging, batches, float32):
    """With depth latents that are those of the video, the targets are what this embedding gives."""
    for batch in batches:
        batch.depth_latents[:] = batch.latents
    data = collect(averaging, batches, 0, seed=3)
    assert len(data.tokens) == 1 + len(averaging.transformer.transformer_blocks)
    assert data.tokens[0].shape == (5, 3 * 2 * 3, 32)
    assert data.frames[0].shape == (5, 3, 32)
    assert data.ids == ("a", "b", "c", "x", "faceless")
    error = (data.tokens[0][..., :16] - data.depth).square().mean()
    assert error < 0.01 * data.depth.square().mean()  # what is left is the noise of timestep 0
    torch.testing.assert_close(
        data.frames[0][..., :16], data.tokens[0][..., :16].unflatten(1, (3, 6)).mean(dim=2)
    )
    assert data.seen[:4].any() and not data.seen[4].any()


def test_the_noise_is_that_of_the_place(models, batches):
    whole = collect(models["base"], batches, 500, seed=3)
    rest = collect(models["base"], batches[1:], 500, seed=3, first=2)
    torch.testing.assert_close(whole.tokens[-1][2:], rest.tokens[-1], rtol=1e-2, atol=1e-2)
    other = collect(models["base"], batches, 500, seed=4)
    assert not torch.allclose(whole.tokens[-1], other.tokens[-1], atol=1e-2)


def test_faces_are_averaged_over_the_frames_of_a_latent_frame():
    embeds = torch.zeros(1, 9, 2)
    embeds[0, 0], embeds[0, 1], embeds[0, 2], embeds[0, 5:] = (
        torch.tensor(v) for v in ([1.0, 0], [1.0, 0], [0, 1.0], [0, 1.0])
    )
    mask = torch.tensor([[True, True, True, False, False, True, False, False, False]])
    face, seen = faces_by_frame(embeds, mask, 3, 1)
    torch.testing.assert_close(face[0], torch.tensor([[1, 0], [0.5**0.5, 0.5**0.5], [0, 1]]))
    assert seen.tolist() == [[True, True, True]]
    mask[:, 5:] = False
    assert faces_by_frame(embeds, mask, 3, 1)[1].tolist() == [[True, True, False]]
    face, seen = faces_by_frame(embeds, mask, 4, 2)  # pairs, one more in front, as CogVideoX 1.5
    torch.testing.assert_close(face[0, 0], torch.tensor([1.0, 0.0]))
    assert seen.tolist() == [[True, True]]
