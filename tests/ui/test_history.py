"""What a run has logged, as arrays."""

import json
from dataclasses import dataclass

import numpy as np
import pytest

from semrepa.ui.history import balance, panels, read_floors, read_history, smooth, to_history


@dataclass(frozen=True)
class Log:
    step: int
    loss: float
    parts: dict[str, float]


def write_log(folder, lines: list[dict], tail: str = "") -> None:
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + tail)


def test_parts_are_lifted_and_evaluations_keep_their_prefix():
    history = to_history([Log(1, 0.5, {"loss_id": 0.1}), {"step": 2, "loss": 0.4, "eval": {"loss_id": 0.2}}])
    assert {name: (x.tolist(), y.tolist()) for name, (x, y) in history.items()} == {
        "loss": ([1, 2], [0.5, 0.4]),
        "loss_id": ([1], [0.1]),
        "eval.loss_id": ([2], [0.2]),
    }


def test_a_running_log_is_read_up_to_its_last_whole_line(tmp_path):
    first = {"step": 0, "eval": {"loss_id": 0.04}, "floors": {"loss_id": {"zero output": 0.035}}}
    again = [{"step": step, "loss": loss} for step, loss in ((1, 3.0), (2, 2.0), (2, 1.0))]
    write_log(tmp_path, [first, *again], tail='{"step": 3, "lo')
    history = read_history(tmp_path)
    np.testing.assert_array_equal(history["loss"], [[1, 2], [3, 1]])
    assert history["eval.loss_id"][1].tolist() == [0.04]
    assert read_floors(tmp_path) == {"loss_id": {"zero output": 0.035}}


def test_a_folder_without_a_log_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        read_history(tmp_path)


def test_smoothing_keeps_constants_and_straight_middles_and_steps_over_nan():
    assert smooth(np.full(30, 2.0)) == pytest.approx(2.0)
    line = np.arange(101.0)
    assert smooth(line)[50] == pytest.approx(50)
    holed = np.full(9, 2.0)
    holed[3:5] = np.nan
    assert smooth(holed) == pytest.approx(2.0)
    assert np.isnan(smooth(np.full(3, np.nan))).all()


def test_panels_leave_out_a_total_that_says_nothing_new():
    series = (np.array([1]), np.array([1.0]))
    assert panels({"loss": series, "loss_id": series, "cosine": series}) == ["loss_id", "cosine"]
    both = {"lr": series, "loss": series, "loss_diff": series, "loss_id": series, "grad_norm": series}
    assert panels(both) == ["loss", "loss_diff", "loss_id", "grad_norm"]


def test_balance_takes_the_weighted_parts_and_the_measured_gradients():
    parts = {"loss_diff": 0.2, "loss_id": 9.0, "weighted_id": 0.1, "grad_diff": 3.0, "grad_id": 1.0}
    history = to_history([{"step": 1, "parts": parts}, {"step": 2, "parts": {"loss_diff": 0.4}}])
    assert balance(history) == {
        "weighted loss": {"loss_diff": pytest.approx(0.3), "loss_id": 0.1},
        "gradient norm": {"loss_diff": 3.0, "loss_id": 1.0},
    }
