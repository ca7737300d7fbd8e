"""Videos made while training: which, when, with which weights, and what their drift is measured against."""

import itertools
import json
from contextlib import nullcontext
from dataclasses import asdict, replace

import pytest
import torch
from training.clips import HELDOUT, TRAIN

from semrepa.config import override
from semrepa.data.dataset import StoreDataset
from semrepa.data.video import probe
from semrepa.generate import clip_seed, sample_encoded
from semrepa.metrics.drift import drift, look
from semrepa.models.cogvideox import encode_prompts
from semrepa.training import samples
from semrepa.training.combined import CombinedObjective
from semrepa.training.finetune import finetune
from semrepa.training.log import read_metrics

SAMPLED = {"steps": 3, "sample_every": 2, "samples": 1, "lr": 3e-2, "eval_every": 100}


@pytest.fixture
def run(cfg, store, parts, aligners, tmp_path):
    """A function that starts a fine-tuning that makes videos."""

    def start(name="run", changes=None, **options):
        made = override(cfg, {"finetune": {**SAMPLED, **(changes or {})}})
        inputs = {"train_ids": TRAIN, "heldout_ids": HELDOUT, "parts": parts, "aligners": aligners}
        return finetune(made, store, tmp_path / name, **inputs | options)

    return start


def video(cfg, store, parts, clip):
    """The video of a clip by a whole model."""
    batch = StoreDataset(store, [clip]).batch([0])
    empty = encode_prompts([""], parts.tokenizer, parts.text_encoder, batch.prompt_embeds.shape[1])
    settings = {"num_frames": 9, "num_inference_steps": cfg.generate.num_inference_steps}
    seeds = [clip_seed(cfg.generate.seeds[0], clip)]
    return sample_encoded(parts, batch.first_frames, batch.prompt_embeds, empty, seeds, **settings)[0]


def looks(folder, step):
    return json.loads((folder / "samples" / f"step-{step:06d}" / "looks.json").read_text())


def test_the_base_models_videos_come_first_and_drift_is_logged_later(run, cfg, store, parts, tmp_path):
    list(run(changes={"samples": 2}))
    folder = tmp_path / "run"
    assert sorted(path.name for path in (folder / "samples").iterdir()) == [
        "step-000000",
        "step-000002",
        "step-000003",
    ]
    info = probe(folder / "samples" / "step-000002" / "x.mp4")
    assert (info.width, info.height, info.fps) == (48, 32, 8)
    base = video(cfg, store, parts, "x")
    assert looks(folder, 0)["x"] == json.loads(json.dumps(asdict(look(base))))
    lines = read_metrics(folder)
    assert [line["step"] for line in lines if line["monitors"]] == [2, 3]
    names = {f"drift_{name}" for name in ("red", "green", "blue", "contrast", "saturation", "flow")}
    assert set(lines[-1]["monitors"]) == names
    trained = type(parts.transformer).from_pretrained(folder / "transformer")
    changed = [
        drift(video(cfg, store, replace(parts, transformer=trained), clip), video(cfg, store, parts, clip))
        for clip in HELDOUT
    ]
    mean = sum(found["saturation"] for found in changed) / 2
    assert lines[-1]["monitors"]["drift_saturation"] == pytest.approx(mean, rel=1e-3)
    assert abs(mean - 1) > 1e-3


def test_making_videos_changes_no_weights_and_no_step(run):
    with_videos = [(log.loss, log.grad_norm) for log in run()]
    without = [(log.loss, log.grad_norm) for log in run("without", {"sample_every": 0})]
    assert with_videos == without


@pytest.mark.parametrize("how", [{"mode": "lora"}, {"weights_dtype": "bfloat16"}])
def test_every_way_of_training_makes_videos(run, tmp_path, monkeypatch, how):
    """Also on a CPU that does not compute in bfloat16 by itself."""
    for module in ("generate", "training.combined", "training.alignment"):
        monkeypatch.setattr(f"semrepa.{module}.autocast", lambda _: nullcontext())
    (log,) = run(changes={"steps": 1, **how})
    assert len(log.monitors) == 6
    assert looks(tmp_path / "run", 1) != looks(tmp_path / "run", 0)


def test_averaged_weights_make_the_videos(run, tmp_path):
    list(run("averaged", {"ema": 0.999}))
    list(run("last"))
    start, averaged, last = (
        looks(tmp_path / "last", 0),
        looks(tmp_path / "averaged", 3),
        looks(tmp_path / "last", 3),
    )
    assert averaged["x"]["saturation"] != last["x"]["saturation"]
    assert looks(tmp_path / "averaged", 0) == start


def test_a_run_that_goes_on_still_compares_with_the_base_model(run, tmp_path):
    whole = [dict(log.monitors) for log in run("whole")]
    stream = run("parts")
    begun = [dict(log.monitors) for log in itertools.islice(stream, 1)]
    stream.close()
    assert begun + [dict(log.monitors) for log in run("parts")] == whole


def test_without_videos_of_the_base_model_no_drift_is_claimed(run, tmp_path, caplog):
    stream = run(changes={"sample_every": 0})
    next(stream)
    stream.close()
    lines = list(run())
    assert (tmp_path / "run" / "samples" / "step-000002" / "x.mp4").is_file()
    assert all(not log.monitors for log in lines)
    assert "without samples of the base model no drift is measured" in caplog.text


def test_a_new_run_sets_the_videos_of_the_earlier_one_aside(run, tmp_path):
    list(run(changes={"steps": 2}))
    next(run(resume=False))
    assert not (tmp_path / "run" / "samples" / "step-000002").exists()
    assert (tmp_path / "run" / "previous" / "samples" / "step-000002" / "x.mp4").is_file()


def test_processes_make_equally_many_videos_and_write_each_once(cfg, store, monkeypatch, tmp_path):
    """Three clips on two processes: both take part in two videos, since weights may be spread over them."""
    made, written, gathered, three = [], [], [], override(cfg, {"finetune.samples": 3})
    monkeypatch.setattr(samples, "_video", lambda *inputs: made.append(inputs[2]) or inputs[2])
    monkeypatch.setattr(samples, "write_video", lambda path, *_, **__: written.append(path.name))
    monkeypatch.setattr(samples, "look", lambda clip: look(torch.zeros(2, 3, 8, 8, dtype=torch.uint8)))
    monkeypatch.setattr(samples, "gather_object", lambda pairs: gathered.extend(pairs) or gathered)

    def process(number):
        state = type(
            "State", (), {"num_processes": 2, "process_index": number, "is_main_process": not number}
        )
        monkeypatch.setattr(samples, "this_process", state)
        made.clear()
        samples.sampler(object.__new__(CombinedObjective), store, ("x", "a", "b"), three, tmp_path).measure(0)
        return list(made)

    assert process(1) == ["a", "x"]
    assert not (tmp_path / "samples" / "step-000000" / "looks.json").exists()
    assert process(0) == ["x", "b"]
    assert sorted(written) == ["a.mp4", "b.mp4", "x.mp4"]
    assert set(looks(tmp_path, 0)) == {"x", "a", "b"}
