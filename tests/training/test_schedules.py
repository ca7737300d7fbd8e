"""Weights of the alignment losses, step by step."""

import itertools

import pytest
from training.clips import TRAIN

from semrepa.config import WeightSchedule, override
from semrepa.training.finetune import finetune
from semrepa.training.schedules import MEMORY, LossWeights, factor


def curve(steps=10, **settings):
    schedule = WeightSchedule(**settings)
    return [factor(schedule, step) for step in range(1, steps + 1)]


def test_the_usual_schedule_is_the_papers():
    assert curve() == [1.0] * 10


def test_warmup_grows_linearly():
    assert curve(warmup=4) == pytest.approx([0.25, 0.5, 0.75, *[1] * 7])


def test_linear_and_cosine_decay_end_where_they_should_and_stay():
    linear = curve(decay="linear", warmup=2, decay_until=6, decay_to=0.2)
    assert linear == pytest.approx([0.5, 1, 0.8, 0.6, 0.4, *[0.2] * 5])
    cosine = curve(decay="cosine", decay_until=8, decay_to=0.1)
    assert cosine[3] == pytest.approx(0.55)
    assert cosine[7:] == pytest.approx([0.1] * 3)
    assert all(a > b for a, b in itertools.pairwise(cosine[:8]))


def test_last_step_ends_it_for_good():
    assert curve(last_step=3, warmup=2) == [0.5, 1, 1, *[0] * 7]


def test_decay_needs_an_end():
    with pytest.raises(ValueError, match="decay_until: got 2 with decay='linear' and warmup=3"):
        WeightSchedule(decay="linear", decay_until=2, warmup=3)


def test_similarity_ends_a_loss_for_good_and_is_remembered():
    schedules = {"struct": WeightSchedule(until_similarity=0.5), "id": WeightSchedule()}
    weights = LossWeights({"struct": 0.01, "id": 1.0}, schedules)
    assert weights.observe(1, {"similarity_struct": 0.4})["similarity_struct"] == 0.4
    assert "similarity_struct" not in weights.observe(2, {})  # nothing was measured in this step
    found = weights.observe(3, {"similarity_struct": 1.0})
    assert found["similarity_struct"] == pytest.approx(MEMORY * 0.4 + 1 - MEMORY)
    assert weights.at(4) == {"struct": 0.01, "id": 1.0}
    copied = LossWeights(weights.weights, schedules)
    copied.load_state_dict(weights.state_dict())
    for other in (weights, copied):
        step = 3
        while other.at(step + 1)["struct"]:
            step += 1
            other.observe(step, {"similarity_struct": 1.0})
        assert other.ended == {"struct": step}
        other.observe(step + 1, {"similarity_struct": -1.0})
        assert other.at(step + 2) == {"struct": 0.0, "id": 1.0}
    assert copied.state_dict() == weights.state_dict()


def test_a_loss_without_weight_is_left_out():
    weights = LossWeights({"struct": 0.0, "id": 1.0}, {"struct": WeightSchedule(), "id": WeightSchedule()})
    assert weights.at(1) == {"id": 1.0}
    assert not weights.measures_similarity


@pytest.fixture
def run(cfg, store, parts, aligners, tmp_path):
    def start(changes, name="run", steps=5):
        changed = override(override(cfg, {"finetune.steps": steps}), changes)
        return finetune(changed, store, tmp_path / name, train_ids=TRAIN, parts=parts, aligners=aligners)

    return start


@pytest.fixture
def looked_at(aligners, monkeypatch):
    """How often each aligner was asked."""
    asked = {"structure": 0, "identity": 0}
    for name, aligner in vars(aligners).items():

        def forward(*inputs, name=name, usual=aligner.forward):
            asked[name] += 1
            return usual(*inputs)

        monkeypatch.setattr(aligner, "forward", forward)
    return asked


def test_effective_weights_are_logged_and_used(run):
    changes = {"struct_schedule.warmup": 2, "id_schedule.last_step": 3}
    logs = list(run(changes))
    assert [log.parts["weight_struct"] for log in logs] == pytest.approx([0.005, *[0.01] * 4])
    assert [log.parts["weight_id"] for log in logs] == [1, 1, 1, 0, 0]
    assert [log.parts["active_id"] for log in logs] == [1, 1, 1, 0, 0]
    assert ["loss_id" in log.parts for log in logs] == [True, True, True, False, False]
    for log in logs:
        weighted = log.parts["weight_struct"] * log.parts["gated_struct"]
        assert log.parts["weighted_struct"] == pytest.approx(weighted, rel=1e-5)
        total = log.parts["loss_diff"] + log.parts["weighted_struct"] + log.parts["weighted_id"]
        assert log.loss == pytest.approx(total, rel=1e-5)


def test_a_loss_whose_weight_is_zero_costs_nothing(run, looked_at):
    ended = {"struct_schedule.last_step": 1, "id_schedule.last_step": 2}
    counts = []
    for _ in run(ended):
        counts.append(dict(looked_at))
    assert counts[0]["structure"] == 1 and counts[0]["identity"] == 2  # predicted and true latents
    assert counts[1] == {"structure": 2, "identity": 4}  # identity still needs the predicted depth
    assert counts[4] == counts[1]


def test_a_closed_gate_costs_nothing(run, looked_at):
    logs = list(run({"loss": {"gate": "snr", "gate_id_snr": 1e6, "weight_struct": 0.0}}))
    assert looked_at == {"structure": 0, "identity": 0}
    assert all(log.parts["active_id"] == 0 and "loss_id" not in log.parts for log in logs)
    assert all(log.loss == log.parts["loss_diff"] for log in logs)


def test_similarity_ends_the_loss_in_a_run_and_after_a_resume(run):
    changes = {"struct_schedule.until_similarity": -1.0, "loss.weight_id": 0.0}
    stream = run(changes)
    first = next(stream)
    assert abs(first.parts["similarity_struct"]) <= 1
    assert first.parts["weight_struct"] == 0.01
    stream.close()
    rest = list(run(changes))
    assert [log.parts["weight_struct"] for log in rest] == [0.0] * 4
    assert not any("loss_struct" in log.parts for log in rest)


def test_paper_has_no_schedule(mini_config):
    for schedule in (mini_config.struct_schedule, mini_config.id_schedule):
        assert schedule == WeightSchedule()
