"""Scores of videos of an arm: what is kept of the truth, what is refused, and what padding may not do."""

import math
from dataclasses import replace
from inspect import unwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from semrepa.config import mini, override
from semrepa.data.index import ClipRow, read_index
from semrepa.data.video import read_clip
from semrepa.evaluation import judging, scoring
from semrepa.evaluation.judging import load_measures
from semrepa.evaluation.measures import Body, Faces, Pixels, Sharpness, Steadiness, Take
from semrepa.evaluation.scoring import Scorer
from semrepa.generate import Generated
from semrepa.metrics.report import means, report_rows
from semrepa.provenance import Provenance
from semrepa.teachers import FaceTrack
from semrepa.training.alignment import Aligners
from tests.runs.clips import moving, write_clips

ROOT = Path(__file__).parents[2]


class Colours:
    """A face teacher whose person is the mean colour of the picture; black pictures show nobody."""

    provenance = Provenance(name="face", source="colours", kind="mini")

    def __init__(self):
        self.seen = []

    def __call__(self, frames: Tensor, content=None) -> FaceTrack:
        self.seen.append(tuple(frames.shape[2:]))
        colour = frames.float().mean(dim=(2, 3))
        embeds = torch.zeros(len(frames), 512)
        embeds[:, :3] = torch.nn.functional.normalize(colour + 1, dim=1)
        mask = colour.sum(dim=1) > 1
        count, nan = len(frames), torch.nan
        return FaceTrack(
            embeds=embeds.masked_fill(~mask[:, None], 0),
            mask=mask,
            boxes=torch.full((count, 4), nan),
            points=torch.full((count, 5, 2), nan),
            scores=mask.float(),
            sizes=torch.full((count,), nan),
            cuts=torch.full((count,), nan),
            yaws=torch.full((count,), nan),
        )


def video(name, frames, seed=0):
    return Generated(id=name, seed=seed, frames=frames, path=None)


def true_frames(cfg, row):
    return read_clip(row.path, **cfg.video.shape).frames


def tagged(frames, *, red=0):
    """The frames with another red."""
    return (frames.int() + torch.tensor([red, 0, 0]).view(3, 1, 1)).clamp(0, 255).to(torch.uint8)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp("clips"))


def take(frames, content=None, name="a"):
    row = ClipRow(id=name, path=Path("none.mp4"), caption="a person waves")
    return Take(row=row, frames=frames[None], content=content or (0, 0, *frames.shape[2:]))


def test_each_video_gets_a_row_named_after_clip_and_seed(small_config, rows):
    scorer = Scorer(small_config, rows, ["pixels", "steadiness"])
    truth = {row.id: true_frames(small_config, row) for row in rows}
    videos = [video(name, tagged(frames, red=9), seed) for seed in (0, 3) for name, frames in truth.items()]
    scores = scorer("plain", iter(videos), kind="mini")
    assert [score.clip for score in scores] == [f"{v.id}-seed{v.seed}" for v in videos]
    assert {(score.arm, score.provenance) for score in scores} == {("plain", "mini")}
    expected = 10 * math.log10(255**2 / (9**2 / 3))
    assert scores[0].values["psnr"] == pytest.approx(expected, abs=1e-4)
    assert scores[0].values["flicker_ratio"] == pytest.approx(1, abs=0.01)


def test_truth_is_perfect_and_paired_with_a_seed(small_config, rows):
    scores = Scorer(small_config, rows, ["pixels"]).truth(seed=3).clips
    assert [score.clip for score in scores] == ["a-seed3", "b-seed3", "c-seed3"]
    assert all(score.values["psnr"] == math.inf and score.values["ssim"] == 1 for score in scores)
    assert means(scores)["truth"]["psnr"].clips == 0, "an infinite number is in no mean"


def test_given_frame_counts_nowhere(small_config, rows):
    frames = true_frames(small_config, rows[0])
    frames[0] = 0
    (score,) = Scorer(small_config, rows, ["pixels"])("x", [video("a", frames)])
    assert score.values["psnr"] == math.inf


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda frames: frames[:-1], r"a-seed0 of arm 'x' with shape \(8, 3, 32, 48\).*\(9, 3, 32, 48\)"),
        (lambda frames: frames[..., :-1], r"shape \(9, 3, 32, 47\)"),
        (lambda frames: frames / 255 * torch.nan, "video a-seed0 of arm 'x': got float frames from nan"),
        (lambda frames: frames.float(), "expected uint8, or finite float"),
    ],
)
def test_broken_videos_are_named(small_config, rows, broken, message):
    scorer = Scorer(small_config, rows, ["pixels"])
    with pytest.raises(ValueError, match=message):
        scorer("x", [video("a", broken(true_frames(small_config, rows[0])))])


def test_strangers_twins_and_nothing_are_refused(small_config, rows):
    scorer = Scorer(small_config, rows, ["pixels"])
    one = video("a", true_frames(small_config, rows[0]))
    for videos, message in (
        ([replace(one, id="z")], "video z-seed0 of arm 'x', of no clip of the index"),
        ([one, one], "a-seed0 twice in arm 'x'"),
        ([], "no videos of arm 'x'"),
    ):
        with pytest.raises(ValueError, match=message):
            scorer("x", videos)
    with pytest.raises(ValueError, match="got 4 clips with 3 names"):
        Scorer(small_config, [*rows, rows[0]], ["pixels"])


def test_groups_are_checked_before_anything_is_loaded(small_config):
    for groups, message in (
        ([], "got scores none"),
        (["pixel"], "got scores pixel; expected some of pixels, faces"),
        (["body"], "without a finder"),
    ):
        with pytest.raises(ValueError, match=message):
            unwrap(load_measures)(small_config, groups)
    with pytest.raises(ValueError, match="every=0"):
        load_measures(small_config, ["pixels"], every=0)


def test_vanished_face_is_a_missing_score_and_is_told(small_config, rows, monkeypatch):
    monkeypatch.setattr(
        scoring,
        "load_measures",
        lambda *_, **__: type("M", (), {"singly": (Faces(Colours()),), "together": ()}),
    )
    truth = [true_frames(small_config, row) for row in rows]
    gone = truth[1].clone()
    gone[1:] = 0
    videos = [video("a", truth[0]), video("b", gone), video("c", truth[2])]
    found = Scorer(small_config, rows).score("x", videos, kind="mini")
    assert found.without_face == ("b-seed0",)
    lost = found.clips[1].values
    assert math.isnan(lost["id_ref"]) and lost["id_ref_zero"] == 0 and lost["detection_rate"] == 0
    assert means(found.clips)["x"]["id_ref"].clips == 2


def test_truth_is_looked_at_once(small_config, rows, monkeypatch):
    teacher = Colours()
    monkeypatch.setattr(
        scoring,
        "load_measures",
        lambda *_, **__: type("M", (), {"singly": (Faces(teacher),), "together": ()}),
    )
    scorer = Scorer(small_config, rows)
    scorer.truth()
    assert len(teacher.seen) == 3
    scorer("x", [video(row.id, true_frames(small_config, row)) for row in rows])
    assert len(teacher.seen) == 6


def test_padding_changes_no_score():
    picture = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8)
    made = (picture // 2 + 20).contiguous()

    def padded(frames):
        return torch.nn.functional.pad(frames, (16, 16))

    bars = (0, 16, 64, 64)
    for measure in (Pixels(), Sharpness(), Steadiness(), Faces(Colours())):
        plain = measure(take(made), take(picture))
        barred = measure(take(padded(made), bars, "barred"), take(padded(picture), bars, "barred"))
        assert barred == pytest.approx(plain, nan_ok=True), measure


def test_small_pictures_have_no_sharpness():
    small = torch.zeros(3, 3, 32, 48, dtype=torch.uint8)
    assert all(map(math.isnan, Sharpness()(take(small), take(small)).values()))


def test_limbs_that_grow_are_seen():
    class Finder:
        provenance = Provenance(name="joints", source="test", kind="random")
        bones = ((0, 1),)

        def __call__(self, frames: Tensor) -> tuple[Tensor, Tensor]:
            points = torch.zeros(len(frames), 2, 2)
            points[:, 1, 0] = frames.float().mean(dim=(1, 2, 3))
            return points, torch.ones(len(frames), 2, dtype=torch.bool)

    measure = Body(Finder())
    growing, steady = moving(value=10), moving(value=10)[:1].expand(9, -1, -1, -1).contiguous()
    found = measure(take(growing), take(steady))
    assert found["bone_length_variation"] > 0.5
    assert found["bone_length_excess"] == pytest.approx(found["bone_length_variation"])
    assert measure(take(steady), take(steady))["bone_length_variation"] == 0


def test_offline_judges_are_labelled_and_join_over_clips(small_config, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    rows = write_clips(tmp_path, ("a", "b"))
    scorer = Scorer(small_config, rows, ["lpips", "fid", "motion", "text"], every=4)
    videos = [video(row.id, tagged(true_frames(small_config, row), red=40)) for row in rows]
    found = scorer.score("base", videos, kind="mini")
    first = found.clips[0]
    assert {*first.values} == {"lpips_alex", "fid_per_video", "motion_dis_per_video", "text", "text_cut"}
    assert {*first.judges.values()} == {"random"} and {*first.judges} == {*first.values}
    assert all(np.isfinite(list(first.values.values())))
    assert [score.name for score in found.sets] == ["fid", "kid", "motion_dis"]
    assert found.sets[0].samples == (4, 4) and all("random weights" in str(score) for score in found.sets)
    assert "lpips_alex (random weights)" in report_rows(found.clips)[0]
    truth = scorer.truth()
    assert truth.clips[0].values["fid_per_video"] == pytest.approx(0, abs=1e-3)
    assert truth.sets[0].value == pytest.approx(0, abs=1e-3)


def test_depth_and_faces_come_from_the_networks_of_the_run():
    cfg = override(mini(), {"video.num_frames": 9})
    index = read_index(ROOT / "data_samples" / "index.jsonl")
    rows = [row for row in index if row.split == "heldout" and row.identity is not None][:1]
    scorer = Scorer(cfg, rows)
    (truth,) = scorer.truth().clips
    assert truth.values["id_gt_frame"] == pytest.approx(1, abs=1e-5)
    assert 0 < truth.values["depth_error"] < 0.2
    assert truth.provenance == "mini" and not truth.judges, "judges and videos are of one kind"
    noise = torch.randint_like(true_frames(cfg, rows[0]), 256)
    (real,) = scorer("noise", [video(rows[0].id, noise)], kind="real")
    assert real.values["depth_error"] > truth.values["depth_error"]
    assert real.values["detection_rate"] < 1
    assert real.judges["depth_error"] == real.judges["id_ref"] == "mini"


def test_exact_depth_alone_cannot_judge_videos(small_config, monkeypatch):
    monkeypatch.setattr(judging, "load_aligners", lambda _: Aligners())
    with pytest.raises(ValueError, match="exact depth, which cannot look at videos"):
        load_measures(small_config, ["depth"])
