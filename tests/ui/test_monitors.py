"""Figures of what a run has measured beside its losses."""

import numpy as np
import pytest
from ui.test_figures import draw

from semrepa.ui.history import to_history
from semrepa.ui.live import live
from semrepa.ui.losses import losses, losses_plotly
from semrepa.ui.monitors import drift, gradients_by_timestep, monitor_panels, speed

LEVELS = (100, 300, 500, 700, 900)


def probe(step, scale):
    """Gradients by level; the identity loss is gated away at the last two."""
    parts = {"diff": 1.0, "struct": 0.01}
    values = {f"grad_{name}@{t}": scale * size * t for name, size in parts.items() for t in LEVELS}
    values |= {f"cos_diff_struct@{t}": 0.1 * scale for t in LEVELS}
    return {"step": step, "monitors": values | {f"grad_id@{t}": scale / t for t in LEVELS[:3]}}


def drifted(step, ratio):
    names = {"red": 5 * ratio, "green": 0.0, "blue": -2.0, "contrast": 0.9, "saturation": ratio, "flow": 1.1}
    return {"step": step, "monitors": {f"drift_{name}": value for name, value in names.items()}}


RUN = [
    {"step": 0, "eval": {"loss_diff": 1.0}, "monitors": probe(0, 1.0)["monitors"]},
    {
        "step": 1,
        "loss": 1.0,
        "parts": {"loss_diff": 0.9},
        "grad_norm": 1.0,
        "speed": {"samples_per_second": 9.0},
    },
    {
        **drifted(20, 1.25),
        "loss": 0.9,
        "speed": {"samples_per_second": 4.81, "peak_memory": 61.0, "mfu": 0.453},
    },
    probe(40, 2.0),
]


def test_norms_are_drawn_at_the_end_of_the_run_and_faintly_at_its_start():
    norms = monitor_panels(to_history(RUN))[1]
    curves = {curve.label: curve for curve in norms.curves}
    np.testing.assert_allclose(curves["diffusion"].points, [LEVELS, [200, 600, 1000, 1400, 1800]])
    np.testing.assert_allclose(curves["diffusion"].earlier, [LEVELS, LEVELS])
    assert curves["identity"].points[0].tolist() == [100, 300, 500]
    text = draw(gradients_by_timestep(to_history(RUN), title="Pull"))
    for word in ("Pull", "timestep", "gradient of each loss", "diffusion, structure", "cosine", "identity"):
        assert word in text


def test_gradients_of_nothing_are_left_out_of_the_log_axis():
    """As of the identity loss where no clip of the probe shows a face."""
    found = probe(0, 1.0)["monitors"]
    faceless = {"step": 0, "monitors": found | {f"grad_id@{t}": 0.0 for t in LEVELS[:3]}}
    (norms,) = monitor_panels(to_history([faceless]))
    assert [curve.label for curve in norms.curves] == ["diffusion", "structure"]
    draw(gradients_by_timestep(to_history([faceless])))


def test_drift_begins_at_the_base_model_and_says_where_it_is():
    (ratios, _) = monitor_panels(to_history(RUN))
    curve = next(curve for curve in ratios.curves if "saturation" in curve.label)
    np.testing.assert_allclose(curve.points, [[0, 20], [1, 1.25]])
    text = draw(drift(to_history(RUN)))
    for word in ("saturation 1.25", "contrast 0.90", "motion 1.10", "red +6.2", "blue -2.0", "of 255"):
        assert word in text


def test_a_run_without_monitors_says_which_setting_makes_them():
    history = to_history([{"step": 1, "loss": 1.0}])
    assert monitor_panels(history) == []
    with pytest.raises(ValueError, match=r"expected one with finetune\.probe_every above 0"):
        gradients_by_timestep(history)
    with pytest.raises(ValueError, match=r"finetune\.sample_every"):
        drift(history)


def test_monitors_stand_beside_the_losses():
    history = to_history(RUN)
    text = draw(losses(history))
    for word in ("diffusion loss", "drift of the samples", "gradient of each loss"):
        assert word in text
    figure = losses_plotly(history)
    assert {"contrast 0.90", "structure"} <= {trace["name"] for trace in figure["data"]}
    logs = [
        axis["type"] for name, axis in figure["layout"].items() if name.startswith("yaxis") and "type" in axis
    ]
    assert logs == ["linear", "log"]


def test_speed_is_the_last_that_was_read():
    assert speed(to_history(RUN)) == "4.81 clips/s · 61 GiB · MFU 45%"
    assert speed(to_history(RUN[:2])) == "9 clips/s"
    assert speed({}) == ""


def test_the_live_note_tells_the_speed(caplog):
    class Log(dict):
        step = 1

    with caplog.at_level("INFO", logger="semrepa"):
        live([Log(step=1, loss=1.0, speed={"samples_per_second": 4.8, "mfu": 0.45})])
    assert "4.8 clips/s · MFU 45%" in caplog.messages[-1]
