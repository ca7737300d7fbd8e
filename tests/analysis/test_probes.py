"""Probes and CKNNA against answers in closed form, and against their definitions written out."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from semrepa.analysis.probes import PENALTIES, ClipRatio, cknna, explained, fit_ridge, likeness

CLIPS = np.repeat(np.arange(40), 20)
DRAW = torch.Generator().manual_seed(0)


def randn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=DRAW)


def rotation(size: int) -> torch.Tensor:
    return torch.linalg.qr(randn(size, size))[0]


def split(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples of the first 30 clips, and those of the other 10."""
    return values[:600], values[600:]


def probe(features: torch.Tensor, targets: torch.Tensor) -> tuple[ClipRatio, float]:
    (known, other), (true, truth) = split(features), split(targets)
    ridge = fit_ridge(known, true, CLIPS[:600])
    return explained(ridge, other, truth, CLIPS[600:] - 30), ridge.penalty


def test_features_that_hold_the_target_linearly_explain_it_all():
    targets = randn(800, 4)
    features = torch.cat([targets, randn(800, 8)], dim=1) @ rotation(12) * 7 + 3
    score, penalty = probe(features, targets)
    assert score.value > 0.999
    assert penalty == PENALTIES[0]


def test_features_that_know_nothing_explain_nothing():
    score, penalty = probe(randn(800, 12), randn(800, 4) + 5)
    assert abs(score.value) < 0.03
    assert penalty >= 1


def test_half_of_the_variance_is_half():
    signal = randn(800, 4)
    score, _ = probe(signal, signal + randn(800, 4))
    assert score.value == pytest.approx(0.5, abs=0.05)


def test_a_feature_that_never_changes_does_no_harm():
    targets = randn(800, 2)
    score, _ = probe(torch.cat([targets, torch.ones(800, 1)], dim=1), targets)
    assert score.value > 0.999


def test_explained_variance_is_that_of_the_textbook():
    features, targets = randn(800, 6), randn(800, 3)
    known, other = split(features)
    ridge = fit_ridge(known, targets[:600], CLIPS[:600])
    error = ((ridge(other) - targets[600:]) ** 2).sum()
    spread = ((targets[600:] - targets[:600].double().mean(0)) ** 2).sum()
    assert explained(ridge, other, targets[600:], CLIPS[600:] - 30).value == pytest.approx(
        (1 - error / spread).item()
    )


def test_likeness_is_the_mean_cosine():
    targets = randn(800, 5)
    ridge = fit_ridge(targets[:600], targets[:600], CLIPS[:600])
    assert likeness(ridge, targets[600:], targets[600:], CLIPS[600:] - 30).value > 0.999
    assert likeness(ridge, targets[600:], -targets[600:], CLIPS[600:] - 30).value < -0.999


def test_gains_are_paired_by_clip():
    generator = np.random.default_rng(0)
    hard = generator.normal(size=30)
    before = ClipRatio(hard, np.ones(30))
    after = ClipRatio(hard + 0.1, np.ones(30))
    gain, score = after.interval(before), after.interval()
    assert (gain.mean, gain.low, gain.high) == pytest.approx((0.1, 0.1, 0.1))
    assert score.low < after.value < score.high
    assert score.high - score.low > 0.3


def test_clips_that_show_nothing_are_no_evidence():
    one = ClipRatio(np.array([1.0, 0.0, 3.0, 0.0]), np.array([2.0, 0.0, 2.0, 0.0]))
    found = one.interval()
    assert (found.mean, found.low, found.high, found.clips) == (1.0, 0.5, 1.5, 2)


def test_probes_need_two_clips_and_equal_counts():
    with pytest.raises(ValueError, match="of 1 clip"):
        fit_ridge(randn(4, 2), randn(4, 1), [0, 0, 0, 0])
    with pytest.raises(ValueError, match="expected one each"):
        fit_ridge(randn(4, 2), randn(4, 1), [0, 1, 0])


def test_cknna_of_the_same_space_is_one_turned_and_scaled_too():
    features = randn(120, 10)
    assert cknna(features, features) == pytest.approx(1)
    assert cknna(features, features @ rotation(10) * 0.01) == pytest.approx(1)
    wider = torch.cat([features, torch.zeros(120, 5)], dim=1)
    assert cknna(features, wider) == pytest.approx(1)


def test_cknna_changes_with_neither_rotation_nor_scale():
    one, other = randn(120, 10), randn(120, 6)
    other[:, :4] += one[:, :4]
    value = cknna(one, other)
    assert 0.1 < value < 0.9
    assert cknna(one @ rotation(10) * 30, other @ rotation(6) * 0.2) == pytest.approx(value, rel=1e-6)


def test_cknna_of_spaces_without_anything_in_common_is_near_zero():
    assert abs(cknna(randn(400, 16), randn(400, 16))) < 0.08


def test_cknna_is_its_definition():
    one, other, count, near = randn(9, 3), randn(9, 4), 9, 4

    def local(first, second):
        """Kernels where samples are neighbours in both spaces, by loops; then the unbiased HSIC."""
        kernels = [
            normalize(space.double(), dim=1) @ normalize(space.double(), dim=1).T for space in (first, second)
        ]
        masks = []
        for kernel in kernels:
            order = [
                sorted((j for j in range(count) if j != i), key=lambda j: -kernel[i, j]) for i in range(count)
            ]
            masks.append([{*row[:near]} for row in order])
        kept = torch.zeros(2, count, count, dtype=torch.float64)
        for i in range(count):
            for j in masks[0][i] & masks[1][i]:
                kept[0, i, j], kept[1, i, j] = kernels[0][i, j], kernels[1][i, j]
        a, b = kept
        means = a.sum() * b.sum() / ((count - 1) * (count - 2))
        value = torch.trace(a @ b) + means - 2 * (a @ b).sum() / (count - 2)
        return value / (count * (count - 3))

    expected = local(one, other) / (local(one, one) * local(other, other)).sqrt()
    assert cknna(one, other, neighbours=near) == pytest.approx(expected.item())


@pytest.mark.parametrize(("samples", "neighbours"), [(3, 2), (12, 12), (12, 1)])
def test_cknna_needs_samples(samples, neighbours):
    with pytest.raises(ValueError, match="neighbours; expected"):
        cknna(randn(samples, 2), randn(samples, 2), neighbours=neighbours)
