"""Making runs: each model through its own code, the same noise in every batch, no folder of two origins."""

import json
import shutil
from itertools import combinations

import pytest
import torch
from diffusers import CogVideoXTransformer3DModel

from semrepa.config import override
from semrepa.data.video import read_clip
from semrepa.generate import generate
from semrepa.runs import MODELS, Pair, Sampling, check_run, made_from, make_run, read_record, read_run
from semrepa.runs.making import resized
from semrepa.weights import WeightsError
from tests.runs.clips import SIZE, moving
from tests.tiny import tiny_transformer

SMALL = Sampling(size=(32, 64), num_inference_steps=2)
ROUNDING = 3
"""What rounding in other batches, and then the codec, make of noise: mean difference of levels, 0 to 255."""
BASELINES = pytest.mark.parametrize("model", ["svd", "i2vgen-xl"])


def made(folder):
    """Frames of each video."""
    files = sorted(folder.glob("*.mp4"))
    return {path.name: read_clip(path, num_frames=9, fps=8, size=SIZE).frames.float() for path in files}


def apart(one, other):
    """Mean difference of the two that differ most, 0 to 255; below `ROUNDING` they are the same."""
    assert one.keys() == other.keys()
    return max((one[name] - other[name]).abs().mean() for name in one)


@pytest.fixture(scope="module")
def finetuned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    tiny_transformer(seed=7).save_pretrained(folder / "transformer")
    return folder


def test_cogvideox_is_made_by_generate(cfg, rows, tmp_path, finetuned):
    for model, transformer in (("base", None), ("finetuned", finetuned)):
        pairs = list(make_run(cfg, model, rows, tmp_path / model, transformer=transformer))
        assert pairs == [Pair("a", 0), Pair("b", 0), Pair("c", 0)]
        source = (
            CogVideoXTransformer3DModel.from_pretrained(finetuned / "transformer") if transformer else None
        )
        generate(cfg, source, rows, out_dir=tmp_path / "expected" / model)
        assert apart(made(tmp_path / model), made(tmp_path / "expected" / model)) < ROUNDING
        assert check_run(tmp_path / model, rows, cfg.video).is_fine
    assert apart(made(tmp_path / "base"), made(tmp_path / "finetuned")) > 2 * ROUNDING


@BASELINES
def test_a_baseline_gives_videos_of_the_length_and_size_of_the_clips(cfg, rows, tmp_path, model):
    cfg = override(cfg, {"video.num_frames": 21})
    assert len(list(make_run(cfg, model, rows[:1], tmp_path, sampling=SMALL))) == 1
    (video,) = read_run(tmp_path, rows[:1], cfg.video)
    assert video.frames.shape == (21, 3, *SIZE)
    record = json.loads((tmp_path / "made_from.json").read_text())
    assert (record["model"], record["kind"]) == (model, "random")
    assert record["sampling"]["size"] == [32, 64], "the final resize is recorded"
    assert len(record["weights"][model]) == 64


@BASELINES
def test_noise_depends_on_seed_and_clip_only(cfg, rows, tmp_path, model):
    cfg = override(cfg, {"generate.seeds": [3, 4]})
    list(make_run(cfg, model, rows[1:2], tmp_path / "one", sampling=SMALL))
    torch.manual_seed(11)
    list(make_run(cfg, model, rows[:2], tmp_path / "two", sampling=SMALL))
    one, two = made(tmp_path / "one"), made(tmp_path / "two")
    assert sorted(two) == ["a-seed3.mp4", "a-seed4.mp4", "b-seed3.mp4", "b-seed4.mp4"]
    assert apart(one, {name: two[name] for name in ("b-seed3.mp4", "b-seed4.mp4")}) < ROUNDING
    for first, second in combinations(two.values(), 2):
        assert (first - second).abs().mean() > 2 * ROUNDING


@pytest.mark.parametrize(("model", "sampling"), [("base", None), ("svd", SMALL)])
def test_a_run_goes_on_where_it_stopped(cfg, rows, tmp_path, model, sampling):
    list(make_run(cfg, model, rows, tmp_path, sampling=sampling))
    whole = made(tmp_path)
    (tmp_path / "b-seed0.mp4").unlink()
    kept = (tmp_path / "a-seed0.mp4").stat().st_mtime_ns
    pairs = list(make_run(cfg, model, rows, tmp_path, sampling=sampling))
    assert pairs == [Pair("a", 0), Pair("c", 0), Pair("b", 0)]
    assert apart(made(tmp_path), whole) < ROUNDING
    assert (tmp_path / "a-seed0.mp4").stat().st_mtime_ns == kept


def test_a_folder_of_other_videos_is_refused(cfg, rows, tmp_path, finetuned):
    list(make_run(cfg, "base", rows[:1], tmp_path))
    before = (tmp_path / "a-seed0.mp4").read_bytes()
    with pytest.raises(ValueError, match="made with another model, weights"):
        list(make_run(cfg, "finetuned", rows, tmp_path, transformer=finetuned))
    with pytest.raises(ValueError, match=r"made with another sampling \(made_from.json\)"):
        list(make_run(cfg, "base", rows, tmp_path, sampling=Sampling(num_inference_steps=3)))
    (tmp_path / "made_from.json").unlink()
    with pytest.raises(ValueError, match="with videos and no made_from.json"):
        list(make_run(cfg, "base", rows, tmp_path))
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


def test_settings_change_the_videos(cfg, rows, tmp_path):
    usual = {"size": (32, 64), "num_inference_steps": 2}
    others = ({}, {"num_inference_steps": 3}, {"guidance_scale": 9.0}, {"overlap": 3}, {"size": (64, 64)})
    videos = []
    for k, other in enumerate(others):
        list(make_run(cfg, "svd", rows[:1], tmp_path / str(k), sampling=Sampling(**usual | other)))
        videos.append(made(tmp_path / str(k)))
    for one, other in combinations(videos, 2):
        assert apart(one, other) > 0.5


def test_the_first_frame_is_given_whole(cfg, rows, tmp_path, monkeypatch):
    seen = []

    def repeat(name, pipe, first_frame, caption, *, seed, **_):
        seen.append((first_frame, caption, seed))
        return first_frame.expand(4, -1, -1, -1)

    monkeypatch.setattr("semrepa.runs.making.sample_window", repeat)
    list(make_run(cfg, "svd", rows[:1], tmp_path, sampling=SMALL))
    first = read_clip(rows[0].path, **cfg.video.shape).frames[:1]
    assert torch.equal(seen[0][0], resized(first, (32, 64))[0])
    assert {caption for _, caption, _ in seen} == {"person a waves"}
    assert len({seed for _, _, seed in seen}) == len(seen) == 3, (
        "9 frames in windows of 4, each with its noise"
    )
    (video,) = read_run(tmp_path, rows[:1], cfg.video)
    assert (video.frames.int() - first.int()).abs().max() <= 4


def test_resizing_keeps_what_is_flat_and_all_of_the_picture():
    frames = moving(3, (30, 60))
    assert torch.equal(resized(frames, (480, 720))[:, :, 5, 7], frames[:, :, 5, 7])
    assert resized(frames, (30, 60)) is frames
    half = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    half[..., 4:] = 200
    assert 95 <= resized(half, (16, 40)).float().mean() <= 105
    assert resized(half, (2, 2)).shape == (1, 3, 2, 2)


def test_requests_that_make_no_sense(cfg, rows, tmp_path, finetuned):
    bad = [
        ({"model": "finetuned"}, "'finetuned' without a transformer"),
        ({"model": "base", "transformer": finetuned}, "'base' with a transformer"),
        ({"model": "svd", "transformer": finetuned}, "'svd' with a transformer"),
        ({"model": "base", "sampling": Sampling(size=(32, 32))}, "a size or an overlap for 'base'"),
        ({"model": "base", "sampling": Sampling(overlap=0)}, "a size or an overlap for 'base'"),
    ]
    for request, hint in bad:
        model = request.pop("model")
        with pytest.raises(ValueError, match=hint):
            list(make_run(cfg, model, rows, tmp_path / "out", **request))
    with pytest.raises(ValueError, match="expected multiples of 16"):
        list(make_run(cfg, "svd", rows, tmp_path / "out", sampling=Sampling(size=(40, 64))))
    with pytest.raises(FileNotFoundError, match="expected a folder with transformer/"):
        list(make_run(cfg, "finetuned", rows, tmp_path / "none", transformer=tmp_path))
    assert not (tmp_path / "none").exists()


@BASELINES
def test_weights_that_are_missing_or_half_there_stop_before_anything_is_made(cfg, rows, tmp_path, model):
    field = {"svd": "svd", "i2vgen-xl": "i2vgen_xl"}[model]
    bare = override(cfg, {f"baselines.{field}": str(tmp_path / "nothing")})
    with pytest.raises(WeightsError, match=rf"baselines.{field} .*not there(.|\n)*licence(.|\n)*hf download"):
        list(make_run(bare, model, rows, tmp_path / "out"))
    half = shutil.copytree(getattr(cfg.baselines, field), tmp_path / "half")
    (half / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"unet with no weights"):
        list(make_run(override(cfg, {f"baselines.{field}": str(half)}), model, rows, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_models_are_those_that_the_paper_compares_and_diffusers_can_run():
    assert MODELS == ("base", "finetuned", "svd", "i2vgen-xl")


def test_a_lora_has_a_record_like_any_transformer(cfg, tmp_path):
    (tmp_path / "run" / "lora").mkdir(parents=True)
    (tmp_path / "run" / "lora" / "pytorch_lora_weights.safetensors").write_bytes(b"weights")
    record = made_from(cfg, "finetuned", transformer=tmp_path / "run")
    assert len(record["weights"]["transformer"]) == 64
    assert record["weights"]["model"] == made_from(cfg, "base")["weights"]["model"]


def test_a_record_is_read_back_or_said_to_be_none(cfg, tmp_path):
    assert read_record(tmp_path) is None
    (tmp_path / "made_from.json").write_text("[]")
    with pytest.raises(ValueError, match="without a JSON object"):
        read_record(tmp_path)
