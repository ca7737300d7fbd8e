"""Other weights: the balance that follows from logged norms and cosines is that of the gradients."""

import numpy as np
import pytest

from semrepa.ui.explorers import weight_explorer
from semrepa.ui.explorers.balance import override_line, pulls, used_weights
from semrepa.ui.history import History, to_history
from tests.ui.explorers.test_shell import words

RANDOM = np.random.default_rng(0)
PARTS = ("diff", "struct", "id")
RAW = {part: RANDOM.normal(size=(2, 7)) for part in PARTS}
"""Gradients before the weights, at two steps."""
USED = {"diff": 1.0, "struct": 0.01, "id": 1.0}
NEW = {"struct": 0.5, "id": 2.0}


def history(**changes: float) -> History:
    records = []
    for place, step in enumerate((1, 11)):
        weighted = {part: USED[part] * RAW[part][place] for part in PARTS}
        norms = {part: float(np.linalg.norm(vector)) for part, vector in weighted.items()}
        pairs = (("diff", "struct"), ("diff", "id"), ("struct", "id"))
        cosines = {f"cos_{a}_{b}": float(weighted[a] @ weighted[b] / norms[a] / norms[b]) for a, b in pairs}
        monitors = {f"grad_{part}": norm for part, norm in norms.items()} | cosines
        parts = {
            "loss_diff": 2.0,
            "gated_struct": 3.0,
            "gated_id": 0.5,
            "weight_struct": 0.01,
            "weight_id": 1.0,
        }
        records.append({"step": step, "parts": parts | changes, "monitors": monitors})
    return to_history(records)


@pytest.mark.parametrize("weights", [{"struct": 0.01, "id": 1.0}, NEW, {"struct": 0.0, "id": 0.0}])
def test_other_weights_stretch_the_gradients(weights):
    found = pulls(history(), weights)
    stretched = {part: weights.get(part, 1.0) * RAW[part] for part in PARTS}
    for part, vectors in stretched.items():
        np.testing.assert_allclose(found.norms[part][1], np.linalg.norm(vectors, axis=1), atol=1e-12)
    joint = sum(stretched.values())
    along = {part: (vectors * joint).sum() / (joint * joint).sum() for part, vectors in stretched.items()}
    assert found.shares == pytest.approx(along)
    assert sum(found.shares.values()) == pytest.approx(1)
    assert found.losses == pytest.approx(
        {"diff": 2.0, "struct": 3 * weights["struct"], "id": weights["id"] / 2}
    )


def test_a_part_that_pulls_back_is_below_nothing():
    against = {f"cos_{pair}": (np.array([1.0]), np.array([-1.0])) for pair in ("diff_id",)}
    lone = {
        name: (np.array([1.0]), np.array([value]))
        for name, value in {
            "grad_diff": 2.0,
            "grad_id": 1.0,
            "weight_id": 1.0,
            "loss_diff": 1.0,
            "gated_id": 1.0,
        }.items()
    }
    found = pulls(lone | against, {"id": 1.0})
    assert found.shares == pytest.approx({"diff": 2.0, "id": -1.0})
    assert "-100%" in words(weight_explorer(lone | against).static())


def test_the_explorer_begins_with_the_weights_of_the_run_and_says_how_to_train_with_others():
    explorer = weight_explorer(history())
    assert explorer.state() == {"weight_struct": 0.01, "weight_id": 1.0}
    assert "as trained" in words(explorer.static())
    assert "as trained" not in words(explorer.render(weight_struct=0.3, weight_id=1.0))
    line = explorer.note(weight_struct=0.3, weight_id=10.0)
    assert (
        line
        == 'overrides = {"loss.weight_struct": 0.3, "loss.weight_id": 10}'
        == override_line(weight_struct=0.3, weight_id=10.0)
    )
    assert sorted(explorer.controls["weight_id"]) == list(explorer.controls["weight_id"])


def test_a_weight_that_no_preset_has_can_be_chosen():
    found = history(weight_id=0.7)
    assert used_weights(found)["id"] == 0.7
    assert 0.7 in weight_explorer(found).controls["weight_id"]


def test_a_run_without_gradients_or_alignment_is_refused():
    with pytest.raises(ValueError, match="balance_every above 0"):
        weight_explorer(to_history([{"step": 1, "loss": 1.0}]))
    with pytest.raises(ValueError, match="take the aligned run"):
        weight_explorer(
            to_history([{"step": 1, "parts": {"loss_diff": 1.0}, "monitors": {"grad_diff": 1.0}}])
        )
