"""FID and KID: closed forms, independent references, intervals, and what the result says about its N."""

from inspect import unwrap

import numpy as np
import pytest
import scipy.linalg
import torch
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import maximum_mean_discrepancy, poly_kernel

from semrepa.metrics.distances import (
    SetScore,
    fid,
    fid_per_clip,
    frechet_distance,
    kernel_distance,
    kid,
)
from semrepa.metrics.features import FeatureSet, extract, join
from semrepa.provenance import Provenance
from tests.metrics.sketches import MeanColours

REAL = Provenance(name="network", source="a file", kind="real", sha256="0" * 64)
RANDOM = Provenance(name="network", source="random weights", kind="random")


def features(rows: int, dims: int, *, seed: int = 0, scale: float = 1.0, shift: float = 0.0) -> torch.Tensor:
    """Correlated gaussian features."""
    chance = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dims, dims, generator=torch.Generator().manual_seed(99)) / dims**0.5
    return scale * torch.randn(rows, dims, generator=chance) @ mixing + shift


def by_square_root(x: torch.Tensor, y: torch.Tensor) -> float:
    """The textbook formula with scipy's square root of a matrix."""
    x, y = x.double().numpy(), y.double().numpy()
    first, second = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(first @ second)
    shift = x.mean(axis=0) - y.mean(axis=0)
    return shift @ shift + np.trace(first) + np.trace(second) - 2 * np.trace(root).real


def feature_set(
    values: torch.Tensor, clips: int, provenance: Provenance = REAL, first: int = 0
) -> FeatureSet:
    """Rows dealt out to clips of equal length."""
    return FeatureSet(
        values=values,
        clips=tuple(f"clip{first + k}" for k in range(clips)),
        owner=torch.arange(clips).repeat_interleave(len(values) // clips),
        provenance=provenance,
    )


@pytest.mark.parametrize(
    ("rows", "others", "dims"), [(200, 150, 32), (40, 50, 64), (20, 300, 48), (10, 10, 256)]
)
def test_frechet_equals_the_textbook_formula(rows, others, dims):
    x, y = features(rows, dims), features(others, dims, seed=1, scale=1.3, shift=0.2)
    assert frechet_distance(x, y) == pytest.approx(by_square_root(x, y), rel=1e-3)


@pytest.mark.parametrize("rows", [12, 60])
def test_frechet_equals_torchmetrics(rows):
    network = MeanColours()
    network.num_features = 12
    module = torch.nn.Module()
    module.forward = network
    module.num_features = 12
    theirs = FrechetInceptionDistance(feature=module, normalize=False).set_dtype(torch.float64)
    sets = []
    for real in (True, False):
        pictures = torch.randint(0, 200 + 50 * real, (rows, 3, 6, 8), dtype=torch.uint8)
        theirs.update(pictures, real=real)
        sets.append(network(pictures))
    assert frechet_distance(*sets) == pytest.approx(theirs.compute().item(), rel=1e-3)


@pytest.mark.parametrize("rows", [30, 100])
def test_frechet_closed_forms(rows):
    x = features(rows, 48)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(x, x + 0.5) == pytest.approx(48 * 0.25, rel=1e-5)
    spread = x.double().var(dim=0).sum().item()
    middle = x.mean(dim=0)
    assert frechet_distance(x, middle + 3 * (x - middle)) == pytest.approx(4 * spread, rel=1e-5)
    assert frechet_distance(x, x.flip(0)) == pytest.approx(0, abs=1e-6), "order does not count"


def test_frechet_of_gaussians_on_a_line():
    x, y = features(5000, 1), features(4000, 1, seed=1, scale=2, shift=1)
    expected = (x.mean() - y.mean()) ** 2 + (x.std() - y.std()) ** 2
    assert frechet_distance(x, y) == pytest.approx(expected.item(), rel=1e-4)


def test_few_frames_are_allowed_and_never_silent():
    few = fid(feature_set(features(40, 64), 4), feature_set(features(80, 64, seed=1), 4))
    assert few.is_rank_deficient and few.samples == (40, 80) and few.dims == 64
    assert "N = 40 and 80, 64-d, rank-deficient" in str(few)
    many = fid(feature_set(features(400, 8), 4), feature_set(features(400, 8, seed=1), 4))
    assert not many.is_rank_deficient and "rank" not in str(many)
    assert few.value > 20 * many.value, "the bias that the label is for"


def test_no_number_of_random_weights_is_shown_without_saying_so():
    values = features(40, 8)
    for measure in (fid, kid):
        shown = str(measure(feature_set(values, 4, RANDOM), feature_set(values + 1, 4, RANDOM)))
        assert "random weights" in shown
        assert "weights" not in str(measure(feature_set(values, 4), feature_set(values + 1, 4)))


def test_features_of_two_networks_are_never_compared():
    scored, truth = feature_set(features(20, 8), 2), feature_set(features(20, 8), 2, RANDOM)
    for measure in (fid, kid, fid_per_clip, lambda *both: join(both)):
        with pytest.raises(ValueError, match="expected one network for both"):
            measure(scored, truth)


def test_kernel_distance_equals_torchmetrics():
    x, y = features(60, 16).double(), features(60, 16, seed=1, shift=0.3).double()
    kernels = (poly_kernel(x, x), poly_kernel(x, y), poly_kernel(y, y))
    assert kernel_distance(x, y) == pytest.approx(maximum_mean_discrepancy(*kernels).item(), rel=1e-9)


def test_kernel_distance_is_zero_on_average_where_frechet_is_not():
    pairs = [(features(20, 16, seed=2 * k), features(20, 16, seed=2 * k + 1)) for k in range(200)]
    found = np.array([kernel_distance(*pair) for pair in pairs])
    assert abs(found.mean()) < 3 * found.std() / len(found) ** 0.5
    assert min(frechet_distance(*pair) for pair in pairs) > 1


def test_interval_of_kid_is_the_jackknife_over_clips():
    scored = feature_set(features(40, 8, shift=0.3), 8)
    truth = feature_set(features(48, 8, seed=1), 8)
    found = kid(scored, truth)
    without = []
    for clip in range(8):
        kept = [part.values[part.owner != clip] for part in (scored, truth)]
        without.append(kernel_distance(*kept))
    error = np.sqrt(7 / 8 * np.square(np.array(without) - np.mean(without)).sum())
    assert found.value == pytest.approx(kernel_distance(scored.values, truth.values))
    assert (found.low, found.high) == pytest.approx((found.value - 1.96 * error, found.value + 1.96 * error))
    assert "[" in str(found)


def test_kid_of_different_clips_leaves_out_one_at_a_time():
    scored = feature_set(features(20, 8, shift=0.3), 4)
    truth = feature_set(features(30, 8, seed=1), 6, first=4)
    found = kid(scored, truth)
    without = [kernel_distance(scored.values[scored.owner != k], truth.values) for k in range(4)]
    without += [kernel_distance(scored.values, truth.values[truth.owner != k]) for k in range(6)]
    error = np.sqrt(9 / 10 * np.square(np.array(without) - np.mean(without)).sum())
    assert found.high - found.value == pytest.approx(1.96 * error)


def test_two_clips_have_no_interval():
    found = kid(feature_set(features(20, 8), 2), feature_set(features(20, 8, seed=1), 2))
    assert np.isnan(found.low) and "[" not in str(found)


def test_fid_per_clip_is_that_of_each_pair():
    scored, truth = feature_set(features(40, 8, shift=0.3), 4), feature_set(features(40, 8, seed=1), 4)
    found = fid_per_clip(scored, truth)
    assert list(found) == ["clip0", "clip1", "clip2", "clip3"]
    assert found["clip2"] == frechet_distance(scored.values[20:30], truth.values[20:30])
    with pytest.raises(ValueError, match="no true clip for clip3"):
        fid_per_clip(scored, feature_set(features(30, 8), 3))


def test_wrong_features_are_named():
    with pytest.raises(ValueError, match=r"\(5, 8\) and \(5, 9\)"):
        unwrap(frechet_distance)(torch.zeros(5, 8), torch.zeros(5, 9))
    with pytest.raises(ValueError, match="at least two rows"):
        frechet_distance(torch.zeros(1, 8), torch.zeros(5, 8))
    for measure in (frechet_distance, kernel_distance):
        with pytest.raises(ValueError, match="not finite"):
            measure(torch.full((5, 8), torch.nan), torch.zeros(5, 8))


class TestExtraction:
    def test_rows_stay_with_their_clips_and_the_given_frame_does_not_count(self):
        frames = torch.randint(0, 256, (3, 4, 3, 8, 8), dtype=torch.uint8)
        network = MeanColours()
        found = extract(frames, network, ["a", "b", "c"], batch=2)
        assert found.values.shape == (9, 12) and found.provenance == network.provenance
        torch.testing.assert_close(found.of_clip("b"), network(frames[1, 1:]))
        whole = extract(frames / 255, network, ["a", "b", "c"], skip_first=False)
        torch.testing.assert_close(whole.of_clip("c"), network(frames[2]))

    def test_content_alone_is_seen(self):
        frames = torch.randint(0, 256, (1, 3, 3, 8, 12), dtype=torch.uint8)
        found = extract(frames, MeanColours(), ["a"], content=(0, 2, 8, 8))
        torch.testing.assert_close(found.values, MeanColours()(frames[0, 1:, :, :, 2:10]))

    def test_groups_are_joined(self):
        frames = torch.randint(0, 256, (4, 3, 3, 8, 8), dtype=torch.uint8)
        network = MeanColours()
        parts = [extract(frames[:3], network, ["a", "b", "c"]), extract(frames[3:], network, ["d"])]
        joined, whole = join(parts), extract(frames, network, ["a", "b", "c", "d"])
        assert joined.clips == whole.clips
        assert torch.equal(joined.values, whole.values) and torch.equal(joined.owner, whole.owner)
        with pytest.raises(ValueError, match="got clips twice: d"):
            join([parts[1], parts[1]])
        with pytest.raises(ValueError, match="got no features"):
            join([])

    def test_wrong_input_is_named(self):
        frames = torch.zeros(2, 3, 3, 8, 8, dtype=torch.uint8)
        for names in (["a"], ["a", "a"], ["a", "b", "c"]):
            with pytest.raises(ValueError, match="expected one name of its own for each"):
                extract(frames, MeanColours(), names)
        with pytest.raises(ValueError, match="skip_first=False"):
            extract(frames[:, :1], MeanColours(), ["a", "b"])
        with pytest.raises(ValueError, match="finite float"):
            extract(frames / 255 * torch.nan, MeanColours(), ["a", "b"])

    def test_a_network_that_answers_nonsense_is_named_with_the_clip(self):
        class Broken(MeanColours):
            def __call__(self, pictures):
                found = super().__call__(pictures)
                found[pictures.amax(dim=(1, 2, 3)) > 100] = torch.inf
                return found

        frames = torch.zeros(2, 3, 3, 8, 8, dtype=torch.uint8)
        frames[1, 2] = 200
        with pytest.raises(ValueError, match="not finite of b;"):
            extract(frames, Broken(), ["a", "b"])


def test_a_score_is_plain_to_read():
    score = SetScore(
        name="kid", value=0.0123456, low=0.01, high=0.02, samples=(9600, 9600), dims=2048, provenance=REAL
    )
    assert str(score) == "kid 0.01235 [0.01, 0.02] (N = 9600 and 9600, 2048-d)"
