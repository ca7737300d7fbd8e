"""Every figure function draws plausible data to a PNG of bounded size, with the right words on it."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from semrepa.analysis import id_distances, verification
from semrepa.data.video import probe
from semrepa.metrics.report import ClipScores
from semrepa.ui.history import to_history
from semrepa.ui.losses import balance_bars, losses, losses_plotly, thin
from semrepa.ui.pictures import (
    aligner_figure,
    contact_sheet,
    depth_figure,
    pick,
    side_by_side,
    to_images,
    write_side_by_side,
)
from semrepa.ui.plots import compare_arms, distance_histograms, distance_matrix, embedding_map, lines, roc
from semrepa.ui.style import (
    BLUE,
    CYCLE,
    INK,
    ORANGE,
    PAPER,
    PART_COLORS,
    _apart,
    bare,
    new_figure,
    on_color,
    readable,
    to_png,
)

RANDOM = np.random.default_rng(0)
CLIP = RANDOM.integers(0, 256, (9, 3, 16, 24), dtype=np.uint8)
DEPTH = RANDOM.uniform(1, 6, (9, 16, 24))


def words(figure: Figure) -> str:
    """All text on a figure."""
    return " ".join(text.get_text() for text in figure.findobj(lambda part: hasattr(part, "get_text")))


def draw(figure: Figure) -> str:
    """Write the figure, check the picture, and give its words."""
    png = to_png(figure, dpi=50)
    opened = Image.open(io.BytesIO(png))
    assert opened.mode in ("RGB", "P") and "transparency" not in opened.info  # opaque
    picture = opened.convert("RGB")
    assert picture.getpixel((0, 0)) == (255, 255, 255)
    assert max(picture.size) < 900
    assert len(np.unique(np.asarray(picture))) > 5
    return words(figure)


def test_losses_show_parts_floors_evaluations_and_bad_steps():
    records = [{"step": 0, "eval": {"loss_struct": 0.9}}] + [
        {"step": step, "loss": 1.0, "parts": {"loss_diff": 0.5, "loss_struct": 0.9**step}, "grad_norm": 1.0}
        for step in range(1, 40)
    ]
    records[7]["loss"] = float("nan")
    history = to_history(records)
    text = draw(losses(history, floors={"loss_struct": {"mean output": 0.2}}, title="Run", note="1 min left"))
    for word in ("Run", "1 min left", "total loss", "diffusion loss", "gradient norm", "mean output 0.2"):
        assert word in text
    assert "circles: held-out clips" in text
    assert "1 not finite" in text
    records[0]["eval"]["loss_struct"] = float("nan")
    assert "circles" in draw(losses(to_history(records)))


def test_floors_that_lie_on_each_other_are_one_line():
    floors = {"loss_id": {"zero output": 0.0355, "mean output": 0.0356, "copy": 0.1}}
    history = to_history([{"step": step, "parts": {"loss_id": 0.04}} for step in range(3)])
    text = draw(losses(history, floors=floors))
    assert "zero output, mean output 0.0355" in text
    assert "copy 0.1" in text


def test_a_chart_is_small_and_video_frames_keep_their_colours():
    chart, grid = new_figure(4, 3)
    grid[0, 0].plot([1, 2], color=ORANGE)
    frame, axes = new_figure(4, 3)
    pixels = RANDOM.integers(0, 256, (200, 300, 3), dtype=np.uint8)
    bare(axes[0, 0]).imshow(pixels)
    small, whole = (Image.open(io.BytesIO(to_png(each))) for each in (chart, frame))
    assert (small.mode, whole.mode) == ("P", "RGB")
    shown = np.asarray(small.convert("RGB")).reshape(-1, 3).astype(int)
    assert np.abs(shown - 255 * np.array(to_rgb(ORANGE))).sum(axis=1).min() < 12
    assert (shown == 255).all(axis=1).mean() > 0.8


def test_labels_move_apart_only_where_they_would_overlap():
    np.testing.assert_allclose(
        _apart(np.array([0.1, 0.5, 0.52, 0.53, 0.9]), 0.1), [0.1, 0.4167, 0.5167, 0.6167, 0.9], atol=1e-3
    )
    np.testing.assert_allclose(_apart(np.array([0.3, 0.3]), 0.1), [0.25, 0.35])


@pytest.mark.parametrize("color", [*CYCLE, *PART_COLORS.values()])
def test_text_has_contrast_with_its_paper(color):
    def luminance(name):
        parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(name)]
        return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), parts, strict=True))

    assert 1.05 / (luminance(readable(color)) + 0.05) >= 4.45
    assert readable(INK) == INK.lower()
    assert [on_color(color) for color in (BLUE, INK, ORANGE, PAPER)] == [PAPER, PAPER, INK, INK]


def test_losses_of_a_run_that_has_only_begun():
    assert "total loss" in draw(losses({}))
    assert "identity loss" in draw(losses(to_history([{"step": 1, "parts": {"loss_id": 0.1}}])))


def test_plotly_losses_hold_plain_numbers_and_stay_small():
    history = to_history([{"step": step, "loss": 1 / step} for step in range(1, 5001)])
    figure = losses_plotly(history, floors={"loss": 0.1}, title="Run")
    raw, smoothed = figure["data"]
    assert len(raw["x"]) <= 600
    assert raw["x"][-1] == 5000
    assert all(isinstance(value, float) for value in smoothed["y"])
    assert thin(history["loss"], 10)[0][-1] == 5000


def test_balance_bars_write_shares():
    text = draw(balance_bars({"weighted loss": {"loss_diff": 3.0, "loss_id": 1.0, "loss_struct": 0.01}}))
    assert "75%" in text
    assert "0.2%" in text


def test_contact_sheet_labels_rows_and_times():
    text = draw(contact_sheet({"truth": CLIP, "base": torch.from_numpy(CLIP)[None]}, columns=3, title="Clip"))
    for word in ("truth", "base", "0.00 s", "0.50 s", "1.00 s", "Clip"):
        assert word in text
    with pytest.raises(ValueError, match="one size"):
        contact_sheet({"a": CLIP, "b": CLIP[..., :8]})


def test_depth_figure_has_metres():
    text = draw(depth_figure(CLIP, DEPTH, columns=3))
    assert "2 m" in text
    assert "distance from the camera" in text


def test_depth_without_a_scale_has_no_metres():
    text = draw(depth_figure(CLIP, DEPTH, kind="disparity", columns=3))
    assert "far" in text and "near" in text and "no unit" in text and " m" not in text


def test_aligner_figure_writes_the_mean_error():
    teacher = RANDOM.uniform(0, 0.8, (2, 16, 24))
    text = draw(aligner_figure(CLIP[:2], teacher, teacher + 0.1, labels=["clip a", "clip b"]))
    assert text.count("mean 0.100") == 2
    assert "clip b" in text


def test_frames_of_any_range_become_the_same_pictures():
    expected = CLIP.transpose(0, 2, 3, 1)
    floats = torch.from_numpy(CLIP).float() / 255
    for frames in (CLIP, floats, floats * 2 - 1, floats[None]):
        np.testing.assert_array_equal(to_images(frames), expected)
    with pytest.raises(ValueError, match=r"\(9, 16, 24\)"):
        to_images(DEPTH)
    assert pick(17, 5).tolist() == [0, 4, 8, 12, 16]
    assert pick(3, 5).tolist() == [0, 1, 2]


def test_side_by_side_writes_labels_above_and_leaves_the_frames_as_they_are():
    video = side_by_side({"truth": CLIP, "base": CLIP[:5]})
    assert video.dtype == np.uint8
    assert video.shape == (5, 3, 16 + 14, 24 * 2 + 6)
    np.testing.assert_array_equal(video[:, :, 14:, :24], CLIP[:5])
    np.testing.assert_array_equal(video[:, :, 14:, 30:], CLIP[:5])
    assert (video[:, :, :14] < 128).any()  # ink
    odd = side_by_side({"a": CLIP[:, :, :15, :23]})
    assert odd.shape[2] % 2 == odd.shape[3] % 2 == 0


def test_side_by_side_becomes_a_video_file(tmp_path):
    path = write_side_by_side(tmp_path / "pair.mp4", {"truth": CLIP, "base": CLIP}, fps=4)
    info = probe(path)
    assert (info.width, info.height, info.fps) == (54, 30, 4)


@pytest.fixture(scope="module")
def people():
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(6, 1, 8, generator=generator)
    return centres + 0.2 * torch.randn(6, 4, 8, generator=generator), torch.ones(6, 4, dtype=torch.bool)


def test_distances_state_both_means_and_the_gap(people):
    found = id_distances(*people, range(6))
    text = draw(distance_histograms({"with depth": found, "without depth": found}))
    assert text.count(f"within a video: {found.intra.mean():.3f}") == 2
    assert f"with depth: gap {found.gap:.3f}" in text


def test_roc_states_area_and_equal_error():
    curve = verification(np.array([3.0, 2.0, 1.0, 0.0]), np.array([True, False, True, False]))
    text = draw(roc({"with depth": curve}))
    assert "area 0.750" in text
    assert "equal error 50.0%" in text
    perfect = verification(np.array([2.0, 1.0]), np.array([True, False]))
    assert "area 1.000" in draw(roc({"teacher": perfect}))


def test_maps_name_everyone():
    text = draw(embedding_map(RANDOM.normal(size=(12, 2)), ["ann", "bob"] * 6, share=[0.6, 0.2]))
    assert "ann" in text
    assert "60% of the variance" in text
    assert "clip b" in draw(distance_matrix(RANDOM.random((2, 2)), ["clip a", "clip b"]))


def test_arms_show_means_and_signed_differences():
    rows = [
        ClipScores(
            arm=arm, clip=str(i), provenance="mini", values={"ssim": 0.5 + gain + 0.01 * i, "x_y": 1.0}
        )
        for arm, gain in (("base", 0.0), ("aligned", 0.1))
        for i in range(5)
    ]
    text = draw(compare_arms(rows, baseline="base", metrics=["ssim", "x_y"]))
    for word in ("+0.100", "SSIM ↑", "x y", "minus base"):
        assert word in text


def test_arms_are_drawn_with_the_kind_of_a_network_or_not_at_all():
    judges = {"lpips_alex": "random"}
    rows = [
        ClipScores(arm=arm, clip=str(i), provenance="mini", values={"lpips_alex": 0.1 * i}, judges=judges)
        for arm in ("base", "aligned")
        for i in range(3)
    ]
    assert "random weights" in draw(compare_arms(rows, baseline="base", metrics=["lpips_alex"]))
    nameless = [replace(row, judges={}) for row in rows]
    with pytest.raises(ValueError, match="without the kind of their weights"):
        compare_arms(nameless, baseline="base", metrics=["lpips_alex"])


def test_lines_are_labelled_where_they_end():
    text = draw(lines({"clean": ([0, 1], [1, 2])}, x="timestep", y="loss", floors={"mean output": 1.5}))
    for word in ("clean", "timestep", "mean output 1.5"):
        assert word in text
