"""Figures of a manifest on made-up ones: the funnel, the gallery of rejects, thresholds, one record."""

import ast
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

import semrepa
from semrepa.data.index import ClipRow
from semrepa.data.manifest import query
from semrepa.data.manifest_files import table_of
from semrepa.data.motion import check_motion, measure_motion
from semrepa.data.video import ClipError, read_clip, write_video
from semrepa.ui.curation import (
    OTHER,
    STEPS,
    funnel,
    funnel_plotly,
    funnel_steps,
    numbers,
    of_clips,
    stage_seconds,
    texts,
)
from semrepa.ui.explorers import shell
from semrepa.ui.gallery import Rejected, rejected, rejected_gallery, short_message, spoiled_files
from semrepa.ui.questions import ANY, choices, query_call, questions, spread, too_far
from semrepa.ui.record import in_words, record_figure, record_table, row_of
from semrepa.ui.show import Lines

LIBRARY = Path(semrepa.__file__).parent
RANDOM = np.random.default_rng(0)
PICTURE = RANDOM.integers(0, 256, (3, 16, 24), dtype=np.uint8)


def reasons_of_the_library() -> list[str]:
    """Every word that is given to a ClipError somewhere in the library, and those of the decoding child."""
    found = {"missing", "timeout", "crashed"}
    for path in LIBRARY.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "ClipError" and node.args:
                word = node.args[0]
                found |= {word.value} if isinstance(word, ast.Constant) else set()
    return sorted(found)


REASONS = reasons_of_the_library()


def done(name: str, **values: object) -> dict[str, object]:
    return {"clip_id": name, "status": "done", **values}


def left_out(name: str, reason: str | None, **values: object) -> dict[str, object]:
    return {"clip_id": name, "status": "rejected", "reject_reason": reason, **values}


def three_clips_and(*more: dict[str, object]):
    kept = [done(f"kept{k}", face_rate=k / 2, face_size=10.0 * k, motion=k + 0.5) for k in range(3)]
    return table_of([*kept, *more])


def words(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text) if text.get_visible())


def cut_off(figure: Figure) -> list[str]:
    """Texts that are not wholly inside the picture."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    width, height = canvas.get_width_height()
    axes = [axis for part in figure.findobj(Axes) for axis in (part.xaxis, part.yaxis)]
    ticks = [(tick, sorted(axis.get_view_interval())) for axis in axes for tick in axis.get_major_ticks()]
    undrawn = {tick.label1 for tick, (low, high) in ticks if not low <= tick.get_loc() <= high}
    shown = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    boxes = {text: text.get_window_extent(canvas.get_renderer()) for text in set(shown) - undrawn}
    return [
        text.get_text()
        for text, box in boxes.items()
        if box.x0 < -1 or box.y0 < -1 or box.x1 > width + 1 or box.y1 > height + 1
    ]


# --- the funnel


@pytest.mark.parametrize("reason", [*REASONS, "a_new_word", None])
def test_each_reason_is_lost_at_exactly_one_step(reason):
    steps = funnel_steps(three_clips_and(left_out("gone", reason)))
    losing = [step for step in steps if step.lost]
    assert [step.lost for step in losing] == [{reason or "no reason given": 1}]
    assert (steps[0].left, steps[-1].left) == (4, 3)
    named = [name for name, known in STEPS.items() if reason in known]
    assert [step.name for step in losing] == (named or [OTHER])


def test_the_librarys_reasons_are_found_and_have_their_step():
    assert {"empty", "corrupt", "too_short", "no_person", "static", "no_depth", "timeout"} <= set(REASONS)
    known = {reason for step in STEPS.values() for reason in step}
    assert {"empty", "corrupt", "too_short", "no_person", "static", "cut", "timeout"} <= known


def test_steps_follow_each_other_and_count_every_clip():
    manifest = three_clips_and(
        *(left_out(f"a{k}", "corrupt") for k in range(4)),
        *(left_out(f"b{k}", "too_short") for k in range(2)),
        left_out("c", "no_person"),
        {"clip_id": "d", "status": "failed"},
    )
    steps = funnel_steps(manifest, listed=20)
    assert [(step.name, step.left) for step in steps] == [
        ("in the index", 20),
        ("looked at", 10),
        ("can be read", 6),
        ("long enough", 4),
        ("moves", 4),
        ("without a cut", 4),
        ("shows a person", 3),
    ]
    assert steps[1].lost == {"not looked at yet": 9, "to be tried again": 1}
    assert steps[-1].left == len(query(manifest))


def test_questions_come_last_one_on_top_of_the_other():
    manifest = three_clips_and()
    steps = funnel_steps(manifest, min_face_rate=0.5, max_motion=1.5)
    assert [(step.name, step.left) for step in steps[-2:]] == [("face rate ≥ 0.5", 2), ("motion ≤ 1.5", 1)]
    assert steps[-1].left == len(query(manifest, min_face_rate=0.5, max_motion=1.5))
    assert [step.asked for step in steps] == [False] * (len(steps) - 2) + [True] * 2
    with pytest.raises(ValueError, match="min_face_rate"):
        funnel_steps(manifest, min_face_rat=0.5)


def test_rows_of_other_runs_are_told_apart():
    manifest = three_clips_and(left_out("other", "corrupt"))
    with pytest.raises(ValueError, match="of_clips"):
        funnel_steps(manifest, listed=3)
    own = of_clips(manifest, ["kept0", "kept2", "not there"])
    assert texts(own, "clip_id") == ["kept0", "kept2"]
    assert funnel_steps(own, listed=3)[1].lost == {"not looked at yet": 1}


def test_the_funnel_of_nothing():
    steps = funnel_steps(table_of([]))
    assert {step.left for step in steps} == {0}
    assert "0 clips" in words(funnel(steps))


@pytest.mark.parametrize("scale", [1, 10_000])
def test_the_funnel_is_legible_with_60_clips_and_with_600_000(scale):
    manifest = three_clips_and(*(left_out(reason, reason) for reason in [*REASONS, "another_very_long_word"]))
    steps = [
        type(step)(step.name, step.left * scale, {word: n * scale for word, n in step.lost.items()})
        for step in funnel_steps(manifest, listed=60)
    ]
    figure = funnel(steps)
    assert f"{60 * scale:,} clips  (100%)" in words(figure)
    assert f"−{scale:,} too_short" in words(figure)
    assert f"for {len(STEPS['can be read']) - 3} more reasons" in words(figure).replace("\n", " ")
    assert cut_off(figure) == []


def test_a_share_is_not_rounded_to_all_or_nothing():
    manifest = table_of([left_out(f"{k}", "corrupt") for k in range(999)] + [done("one")])
    assert "1 clips  (0.1%)" in words(funnel(funnel_steps(manifest)))


@pytest.mark.parametrize("kept", [0, 5, 30, 60, 95])
def test_counts_do_not_stand_on_reasons(kept):
    manifest = table_of(
        [done(f"{k}") for k in range(kept)] + [left_out(f"x{k}", "too_short") for k in range(100 - kept)]
    )
    figure = funnel(funnel_steps(manifest))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [text.get_window_extent(canvas.get_renderer()) for text in figure.axes[0].texts]
    assert not any(one.overlaps(other) for k, one in enumerate(boxes) for other in boxes[:k] if other.width)


def test_hovering_tells_all_reasons():
    steps = funnel_steps(three_clips_and(*(left_out(r, r) for r in STEPS["can be read"])))
    left, lost = json.loads(json.dumps(funnel_plotly(steps)))["data"]
    assert left["x"] == [step.left for step in steps]
    assert lost["x"][1] == len(STEPS["can be read"])
    assert all(reason in lost["customdata"][1] for reason in STEPS["can be read"])


def test_many_clips():
    count = 100_000
    ids = [f"clip{k:06d}" for k in range(count)]
    rows = [
        done(name, face_rate=k % 100 / 100, face_size=float(k % 64), motion=k / count)
        if k % 4
        else left_out(name, REASONS[k % len(REASONS)])
        for k, name in enumerate(ids)
    ]
    manifest = of_clips(table_of(rows), ids)
    steps = funnel_steps(manifest, min_face_rate=0.5)
    assert steps[0].left == count
    assert steps[-2].left == count * 3 // 4
    assert cut_off(spread(manifest, {"face_size": 32, "motion": 0.5})) == []
    explorer = questions(manifest, splits=dict.fromkeys(ids, "train"), picture=lambda _: PICTURE)
    assert f"all: {steps[-1].left:,} of {steps[-2].left:,}" in words(
        explorer.render(**{**explorer.state(), "min_face_rate": 0.5})
    )


def test_seconds_are_summed_by_stage():
    manifest = table_of([done("a", seconds={"read": 1.0, "vae": 4.0}), done("b", seconds={"read": 2.0})])
    assert stage_seconds(manifest) == {"vae": 4.0, "read": 3.0}
    assert stage_seconds(manifest.select(["clip_id"])) == {}


# --- thresholds


def test_both_sides_of_a_threshold_are_counted():
    manifest = table_of([done(f"{k}", face_size=float(k)) for k in range(10)] + [left_out("x", "corrupt")])
    figure = spread(manifest, {"face_size": 4.0, "motion": 1.0})
    assert "4 below 4, 6 at or above, 1 without" in words(figure)
    assert "no clip has this number yet" in words(figure)
    bars = [bar for bar in figure.axes[0].patches if bar.get_height()]
    assert sum(bar.get_height() for bar in bars if bar.get_x() + bar.get_width() <= 4.0 + 1e-9) == 4
    assert sum(bar.get_height() for bar in bars) == 10


def test_one_odd_clip_does_not_press_the_others_together():
    manifest = table_of([done(f"{k}", motion=k / 1000) for k in range(1000)] + [done("odd", motion=1e6)])
    figure = spread(manifest, {"motion": 0.5})
    assert figure.axes[0].get_xlim()[1] < 2
    assert "the last bar holds all from" in words(figure)
    assert sum(bar.get_height() for bar in figure.axes[0].patches) == 1001


@pytest.mark.parametrize("values", [[3.0], [3.0, 3.0], [0.0, 0.0, float("nan")]])
def test_a_histogram_of_equal_numbers(values):
    manifest = table_of([done(f"{k}", motion=value) for k, value in enumerate(values)])
    figure = spread(manifest, {"motion": 3.0})
    assert sum(bar.get_height() for bar in figure.axes[0].patches) == np.isfinite(values).sum()


def test_old_manifests_without_a_column_are_read():
    manifest = three_clips_and().select(["clip_id", "status", "face_rate"])
    assert np.isnan(numbers(manifest, "motion")).all()
    assert texts(manifest, "reject_reason") == [None] * 3
    assert funnel_steps(manifest, min_face_rate=0.5)[-1].left == 2
    assert "no clip has this number yet" in words(spread(manifest, {"motion": 1.0}))
    assert list(asking(manifest).controls) == ["min_face_rate"]
    assert rejected(manifest) == {}


# --- questions


def asking(manifest, **options):
    splits = {"kept0": "train", "kept1": "train", "kept2": "heldout"}
    return questions(manifest, splits=splits, picture=lambda _: PICTURE, **options)


def test_choices_reach_from_nothing_asked_to_almost_all_dropped():
    values = np.array([0.0, 0.1, 0.2, 0.3, 1.0, np.nan])
    least, most = choices(values, "min_motion"), choices(values, "max_motion")
    assert least[0] == most[-1] == ANY
    assert least[1:] == sorted(least[1:])
    assert (least[-1], most[0]) == (1.0, 0.0)
    assert choices(np.full(3, np.nan), "min_motion") == [ANY]
    assert choices(np.full(3, 2.0), "min_motion") == [ANY]


def test_counts_are_those_of_the_query_that_is_printed():
    manifest = three_clips_and(left_out("gone", "corrupt"))
    explorer = asking(manifest, start={"min_face_rate": 0.5, "max_motion": 1.6})
    assert explorer.state()["min_face_rate"] == 0.5
    shown: dict[str, object] = {"manifest": manifest}
    exec(explorer.note(**explorer.state()), shown)
    assert shown["ids"] == ["kept1"]
    figure = explorer.static()
    for line in ("all: 1 of 3", "train: 1 of 2", "heldout: 0 of 1", "face rate 0", "motion 2.5"):
        assert line in words(figure)
    assert cut_off(figure) == []


def test_asking_nothing_keeps_all():
    explorer = asking(three_clips_and())
    assert set(explorer.state().values()) == {ANY}
    assert query_call(**explorer.state()).endswith("ids = query(manifest)")
    assert "all: 3 of 3" in words(explorer.static())
    assert "dropped: none" in words(explorer.static())


def test_what_keeps_a_clip_out():
    asked = {"min_face_rate": 0.5, "max_motion": 3.0}
    assert too_far({"min_face_rate": 0.41, "max_motion": 2.0}, asked) == "face rate 0.41"
    assert too_far({"min_face_rate": 0.6, "max_motion": 7.0}, asked) == "motion 7"
    assert too_far({"min_face_rate": float("nan"), "max_motion": 7.0}, asked) == "no face rate"


def test_a_manifest_without_records_can_be_asked():
    explorer = asking(table_of([left_out("gone", "corrupt")]))
    assert explorer.controls == {}
    assert "kept: none" in words(explorer.static())


def test_an_unknown_bound_is_refused():
    with pytest.raises(ValueError, match="try 'min_motion'"):
        asking(three_clips_and(), bounds=["min_motio"])


def test_moving_a_slider_changes_picture_and_call():
    shell = asking(three_clips_and()).widgets()
    row, note, picture = shell.children
    before = bytes(picture.value)
    control = next(box for box in row.children if box.description == "min face rate")
    control.value = 0.5
    assert bytes(picture.value) != before
    assert "min_face_rate=0.5" in note.value


def test_headless_shows_a_figure_and_the_call(monkeypatch):
    shown = []
    monkeypatch.setattr(shell, "is_headless", lambda: True)
    monkeypatch.setattr(shell, "show", lambda item, text="": shown.append(item))
    asking(three_clips_and())._ipython_display_()
    assert [type(item) for item in shown] == [Figure, Lines]
    assert "query(manifest)" in shown[1]._repr_mimebundle_()["text/plain"]


def test_lines_are_escaped():
    assert "a &lt; b" in Lines("a < b").html()


# --- the gallery


@pytest.fixture
def good(tmp_path) -> Path:
    frames = RANDOM.integers(0, 256, (17, 3, 8, 12), dtype=np.uint8).repeat(8, 2).repeat(8, 3)
    return write_video(tmp_path / "good.mp4", frames, fps=8)


def test_rejects_are_grouped_the_most_frequent_first():
    manifest = three_clips_and(
        left_out("a", "corrupt", message="bad", path="/x/a.mp4"),
        left_out("b", "too_short"),
        left_out("c", "too_short"),
        {"clip_id": "d", "status": "failed", "message": "disk full"},
    )
    groups = rejected(manifest)
    assert {reason: len(clips) for reason, clips in groups.items()} == {
        "too_short": 2,
        "corrupt": 1,
        "failed": 1,
    }
    assert next(iter(groups)) == "too_short"
    assert groups["corrupt"] == [Rejected("a", "corrupt", "bad", "/x/a.mp4")]


def test_gallery_has_a_picture_or_a_grey_tile_for_each(tmp_path, good):
    (tmp_path / "empty.mp4").write_bytes(b"")
    message = f"got {tmp_path}/empty.mp4, which has 0 bytes; expected a video; copy it again"
    groups = {
        "empty": [Rejected("none", "empty", message, f"{tmp_path}/empty.mp4")],
        "no_person": [Rejected("room", "no_person", "", str(good))],
        "missing": [Rejected("gone", "missing", "", "/nowhere/x.mp4"), Rejected("lost", "missing", "", "")],
    }
    figure = rejected_gallery(groups, timeout=None)
    assert [len(axes.images) for axes in figure.axes] == [0, 1, 0, 0]
    assert words(figure).count("no picture") == 3
    assert "got empty.mp4, which has 0 bytes" in words(figure).replace("\n", " ")
    assert str(tmp_path) not in words(figure)
    assert cut_off(figure) == []


def test_gallery_shows_a_few_of_each_reason_and_counts_all():
    long = "got clip " + "w" * 60 + " and very many more words; expected something much shorter; try again"
    groups = {
        "too_many_duplicate_frames": [
            Rejected("clip_with_a_very_long_name_of_many_letters_" * 2, "x", long, "")
        ]
        * 730_000,
        "corrupt": [Rejected("b", "corrupt", "", "")] * 4,
        "empty": [Rejected("c", "empty", "", "")],
    }
    figure = rejected_gallery(groups, most=6, timeout=None)
    assert len(figure.axes) == 6 + 4 + 1
    assert "730,000 clips, 6 shown" in words(figure)
    assert "4 clips\n" in words(figure)
    assert cut_off(figure) == []


def test_tiles_do_not_overlap():
    groups = {f"reason{k}": [Rejected("a", "x", "m " * 200, "")] * k for k in (7, 4, 1)}
    figure = rejected_gallery(groups, most=7, timeout=None)
    boxes = [axes.get_position() for axes in figure.axes]
    assert not any(one.overlaps(other) for k, one in enumerate(boxes) for other in boxes[:k])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = [axes.get_window_extent(canvas.get_renderer()) for axes in figure.axes]
    texts_below = [text.get_window_extent(canvas.get_renderer()) for text in figure.texts]
    assert not any(text.overlaps(tile) for text in texts_below for tile in pixels)
    rows = [round(box.y0, 3) for box in boxes]
    assert [rows.index(row) for row in rows] == [0] * 5 + [5] * 2 + [7] * 5  # four do not fit beside two


def test_text_is_not_wider_than_its_tile():
    message = "got a clip whose frames differ by 0.00 of 255 at most; expected 0.1 or more; use another one"
    clips = [Rejected(f"clip{k}", "x", message[:-k], "") for k in range(20, 60, 8)]
    figure = rejected_gallery({"x": clips}, timeout=None)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    tiles = [axes.get_window_extent(canvas.get_renderer()) for axes in figure.axes]
    below = [text for text in figure.texts if text.get_text().startswith("clip") and "got" in text.get_text()]
    assert len(below) == len(tiles) == 5
    for text, tile in zip(below, tiles, strict=True):
        box = text.get_window_extent(canvas.get_renderer())
        assert tile.x0 - 1 <= box.x0
        assert box.x1 <= tile.x1 + 1


def test_a_gallery_of_nothing_says_so():
    assert "no clip was left out" in words(rejected_gallery({}))


def test_messages_lose_folder_and_remedy():
    clip = Rejected(
        "a", "too_short", "got /v/a.mp4 of 1 s; expected a picture at 2 s; use another", "/v/a.mp4"
    )
    assert short_message(clip) == "got a.mp4 of 1 s; expected a picture at 2 s"


def test_spoiled_files_are_left_out_each_for_its_reason(tmp_path, good):
    clip = read_clip(good, num_frames=17, fps=8, size=(64, 96))
    row = ClipRow(id="good", path=good, caption="noise", seed=3)
    spoiled = spoiled_files(tmp_path / "bad", row, clip.frames, fps=8)
    found = {}
    for bad in spoiled:
        with pytest.raises(ClipError) as caught:
            check_motion(measure_motion(read_clip(bad.path, num_frames=17, fps=8, size=(64, 96))))
        found[bad.path.stem] = caught.value.reason
        assert (bad.caption, bad.seed) == ("noise", 3)
    assert found == {
        "empty": "empty",
        "page": "not_video",
        "cut_off": "corrupt",
        "short": "too_short",
        "still": "static",
        "slow": "too_many_duplicate_frames",
    }
    films = [bad.path for bad in spoiled if bad.path.stem in ("short", "still", "slow")]
    before = [path.stat().st_mtime_ns for path in films]
    assert spoiled_files(tmp_path / "bad", row, clip.frames, fps=8) == spoiled
    assert [path.stat().st_mtime_ns for path in films] == before
    assert spoiled_files(tmp_path / "bad", row, clip.frames[:, :, ::2], fps=8)[0].path != spoiled[0].path


# --- one record


def a_record(faces: bool = True) -> dict[str, torch.Tensor]:
    count = 9
    sizes = torch.linspace(10, 20, count)
    record = {
        "latents": torch.randn(3, 4, 2, 3).half(),
        "first_frame": torch.from_numpy(PICTURE),
        "content": torch.tensor([0, 4, 16, 16], dtype=torch.int32),
        "timestamps": torch.arange(count) / 8 - 0.02,
        "new_feature": torch.tensor(1.0),
    }
    if faces:
        sizes[3:5] = torch.nan
        boxes = torch.tensor([[8.0, 4.0, 14.0, 10.0]]).repeat(count, 1)
        record |= {
            "face_mask": sizes.isfinite(),
            "face_boxes": torch.where(sizes.isfinite()[:, None], boxes, torch.nan),
            "face_sizes": sizes,
            "face_cuts": torch.zeros(count),
            "face_yaws": torch.linspace(-0.5, 0.5, count),
            "person_box": torch.tensor([4.0, 2.0, 18.0, 15.0, 0.9]),
        }
    return record


def test_every_feature_of_a_record_is_listed():
    record = a_record()
    text = str(record_table(record, caption="clip"))
    assert all(name in text for name in record)
    assert "3 x 4 x 2 x 3" in text
    assert "7 of 9 yes" in text
    assert "10 to 20, 2 not a number" in text
    assert text.splitlines()[-1].startswith("new_feature")


def test_a_record_is_shown_with_boxes_faces_and_time_stamps():
    row = done("clip", path="/v/clip.mp4", face_rate=7 / 9, bytes=2000, checksum="ab" * 32)
    figure = record_figure(a_record(), row, fps=8, limits={"size": 12.0, "yaw": 0.4}, depth=PICTURE)
    text = words(figure)
    for line in ("usable on 7 of 9 frames", "masked below 12", "masked above 0.4", "at most 20 ms", "78% of"):
        assert line in text
    (first, *_) = figure.axes
    assert [patch.get_bbox().bounds for patch in first.patches] == [
        (3.5, -0.5, 16.0, 16.0),
        (3.5, 1.5, 14.0, 13.0),
        (7.5, 3.5, 6.0, 6.0),
    ]
    assert cut_off(figure) == []


def test_a_record_without_faces_is_shown_all_the_same():
    text = words(record_figure(a_record(faces=False), {"status": "done"}, fps=8))
    assert "no face here" in text
    assert "usable on 0 of 9 frames" in text
    assert text.count("no face was found") == 3


def test_a_row_in_words_leaves_out_what_is_unknown():
    assert in_words(done("clip", width=4, seconds={})) == ["done"]
    full = done("clip", path="/far/away/clip.mp4", width=4, height=2, fps=30.0, seconds={"read": 0.5})
    assert in_words(full) == [
        "done",
        "file clip.mp4",
        "4 x 2 pixels, 30 frames per second",
        "seconds: read 0.5",
    ]


def test_a_row_of_the_manifest_as_plain_values():
    manifest = table_of([done("a", seconds={"read": 0.5}), done("b")])
    assert row_of(manifest, "a")["seconds"] == {"read": 0.5}
    with pytest.raises(KeyError, match="one of the 2"):
        row_of(manifest, "c")
