import dataclasses
import json
import subprocess
import sys

import pytest

from semrepa.config import Config, configure, describe, full, mini, override, preset
from semrepa.runtime import write_json


@pytest.mark.parametrize("make", [mini, full])
def test_json_round_trip(make, tmp_path):
    cfg = override(make(), {"generate.seeds": [3, 4], "finetune.ema": 0.9})
    assert Config.load(cfg.save(tmp_path / "a" / "config.json")) == cfg


def test_presets_hold_the_papers_numbers():
    cfg = full()
    assert (cfg.video.num_frames, cfg.video.fps, cfg.video.height, cfg.video.width) == (49, 8.0, 480, 720)
    for loss in (cfg.loss, mini().loss):
        assert (loss.weight_struct, loss.weight_id, loss.gate) == (0.01, 1.0, "none")
    assert {preset(name).preset for name in ("mini", "full")} == {"mini", "full"}
    with pytest.raises(ValueError, match="got 'tiny'; expected one of mini, full"):
        preset("tiny")


def test_config_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        mini().video.fps = 24.0  # type: ignore[misc]


def test_override_takes_dotted_nested_and_text():
    dotted = override(mini(), {"loss.weight_id": 10, "video": {"num_frames": 9, "fps": 16}})
    text = override(mini(), ["loss.weight_id=10", "video.num_frames=9", "video.fps=16"])
    assert dotted == text
    assert (dotted.loss.weight_id, dotted.video.num_frames, dotted.video.fps) == (10.0, 9, 16.0)
    assert type(dotted.loss.weight_id) is float
    assert dotted.loss.weight_struct == mini().loss.weight_struct
    assert mini().loss.weight_id == 1.0


def test_override_coerces_only_what_loses_nothing():
    cfg = override(mini(), ["finetune.lr=1e-4", "finetune.ema=null", "face.detector_size=[64, 32]", "seed=7"])
    assert (cfg.finetune.lr, cfg.finetune.ema, cfg.face.detector_size, cfg.seed) == (1e-4, None, (64, 32), 7)
    assert override(mini(), {"face.providers": ["A", "B"]}).face.providers == ("A", "B")
    assert override(mini(), {}) == mini()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"video.num_frames": True}, r"video.num_frames: got True \(bool\); expected a whole number"),
        ({"video.num_frames": 9.0}, r"got 9.0 \(float\); expected a whole number"),
        ({"loss.self_target": "false"}, r"loss.self_target: got 'false' \(str\); expected true or false"),
        ({"loss.self_target": 1}, r"got 1 \(int\); expected true or false"),
        ({"video.fps": "8"}, r"video.fps: got '8' \(str\); expected a number"),
        ({"video.fps": False}, "expected a number"),
        ({"data.index": 3}, "expected a text"),
        ({"data.index": None}, "data.index: got None"),
        ({"face.detector_size": 64}, "expected a list"),
        ({"face.detector_size": [64, "32"]}, r"face.detector_size\[1\]"),
        ({"video": 3}, "video: got 3 .*expected a dictionary of its fields"),
        ({"seed": {"a": 1}}, "seed: got"),
        ("loss.weight_id=10", "expected a dictionary, or a list like"),
    ],
)
def test_wrong_types_are_refused(changes, message):
    with pytest.raises(TypeError, match=message):
        override(mini(), changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss.weight_idd": 1}, r"loss.weight_idd: unknown name; did you mean loss.weight_id\?"),
        ({"los.weight_id": 1}, r"los: unknown name; did you mean loss\?"),
        ({"weight_id": 1}, "weight_id: unknown name; did you mean loss.weight_id"),
        ({"lr": 1}, "pretrain_structure.lr or pretrain_identity.lr or finetune.lr"),
        ({"zzz": 1}, "zzz: unknown name; expected one of preset, seed, video"),
        ({"loss.gate": "srn"}, "loss.gate: got 'srn'; expected one of 'none', 'snr'"),
        ({"preset": "full"}, r"cannot be changed; choose it with preset\(name\)"),
        ({"seed": 1, "video": {"fps": 8}, "video.fps": 9}, "video.fps: given twice"),
        ({"video": 3, "video.fps": 9}, "video is also given a value of its own"),
        ({"video.num_frames": 48}, "video.num_frames: got 48; .*use 45 or 49"),
        ({"video.num_frames": 3}, "use 5"),
        ({"video.height": 470}, "use 464 or 480"),
        ({"face.detector_size": [64, 33]}, "face.detector_size"),
        ({"face.detector_size": [64]}, "got 1 values; expected 2"),
        ({"structure.head_dim": 24}, "structure.head_dim: got 24; expected a multiple of 16"),
        ({"structure.step": 1000}, "structure.step: got 1000; expected at least 1 and at most 999"),
        ({"image.dropout": 1.5}, "image.dropout: got 1.5; expected at least 0 and at most 1"),
        ({"finetune.lr": float("nan")}, "finetune.lr: got nan"),
        ({"finetune.steps": 0}, "finetune.steps: got 0; expected at least 1"),
        ({"generate.seeds": [1, -1]}, r"generate.seeds: got \(1, -1\)"),
        ({"seed": -1}, "seed: got -1; expected at least 0"),
        (["loss.weight_id"], "expected name=value"),
        (["loss.weight_id=[1"], "expected a YAML value after the ="),
    ],
)
def test_wrong_names_and_values_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        override(mini(), changes)


def test_loading_is_strict_and_forgives_only_fields_with_a_default(tmp_path):
    path = mini().save(tmp_path / "config.json")
    values = json.loads(path.read_text())
    del values["loss"]["gate"]
    assert Config.load(write_json(path, values)) == mini()
    del values["video"]["height"]
    with pytest.raises(ValueError, match="video: missing height; expected a value"):
        Config.load(write_json(path, values))
    with pytest.raises(ValueError, match="unknown name; did you mean seed"):
        Config.load(write_json(path, {"seeed": 1}))
    with pytest.raises(ValueError, match="got list; expected an object"):
        Config.load(write_json(path, []))
    with pytest.raises(FileNotFoundError, match=r"expected the config.json of a run"):
        Config.load("nowhere.json")


def test_configure_applies_preset_overrides_headline_in_this_order():
    cfg = configure(
        "mini", {"finetune.steps": 5}, {"finetune.steps": 7, "seed": None, "loss.weight_id": None}
    )
    assert (cfg.finetune.steps, cfg.seed, cfg.loss.weight_id) == (7, mini().seed, mini().loss.weight_id)
    assert configure("full") == full()


def test_every_value_is_described():
    rows = describe(override(mini(), {"loss.weight_id": 10}))
    leaves = [
        f"{k}.{n}" if isinstance(v, dict) else k
        for k, v in dataclasses.asdict(mini()).items()
        for n in (v if isinstance(v, dict) else [k])
    ]
    assert [row.name for row in rows] == leaves
    assert all(row.meaning.endswith((".", "Eq. 6.")) for row in rows)
    assert [row.name for row in rows if row.changed] == ["loss.weight_id"]
    assert next(row.value for row in rows if row.name == "loss.weight_id") == 10.0


def test_reading_a_config_needs_no_torch():
    code = "import sys, semrepa.config; semrepa.config.mini(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_mini_trains_in_the_kernel_and_full_in_a_child():
    assert (mini().launch.where, full().launch.where) == ("kernel", "child")
    chosen = override(mini(), ["launch.where=child", "launch.num_processes=2"]).launch
    assert (chosen.where, chosen.num_processes, chosen.config_file) == ("child", 2, None)
    with pytest.raises(ValueError, match=r"launch\.where: got 'thread'"):
        override(mini(), {"launch.where": "thread"})
