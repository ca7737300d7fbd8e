"""Where an aligner looks, with aligners that look where we know."""

import dataclasses

import pytest
import torch

from semrepa.analysis.focus import borrowed_depth, by_face_size, face_cells, focus
from semrepa.data.dataset import Batch
from semrepa.models.identity import IdentityAligner


def batch_of(clips: int = 4, frames: int = 2, channels: int = 2) -> Batch:
    """Random clips of 4x6 cells; every frame shows a face."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    length = 4 * (frames - 1) + 1
    return Batch(
        latents=draw(clips, frames, channels, 4, 6),
        depth_latents=draw(clips, frames, channels, 4, 6),
        first_frames=torch.zeros(clips, 3, 32, 48, dtype=torch.uint8),
        prompt_embeds=torch.zeros(clips, 0, 0),
        id_embeds=torch.nn.functional.normalize(draw(clips, length, 8), dim=-1),
        face_mask=torch.ones(clips, length, dtype=torch.bool),
        ids=tuple(map(str, range(clips))),
    )


class Reader(IdentityAligner):
    """An aligner whose answer is a linear map of chosen cells of video and depth: 2 channels, 4x6 cells."""

    def __init__(self, video: torch.Tensor, depth: float | None = None):
        super().__init__(width=8, num_blocks=1, channels=2, use_depth=depth is not None, embed_dim=8)
        self.video, self.depth = video, depth
        self.map = torch.randn(2, 4, 6, 8, generator=torch.Generator().manual_seed(1))

    def forward(self, latents, depth_latents=None):
        seen = torch.einsum("bfchw,chwd->bfd", latents * self.video, self.map)
        if depth_latents is not None:
            seen = seen + self.depth * torch.einsum("bfchw,chwd->bfd", depth_latents, self.map)
        return seen.repeat_interleave(4, dim=1)[:, 3:]


def test_cells_of_a_box_are_covered_by_their_share():
    boxes = torch.full((1, 5, 4), torch.nan)
    boxes[0, 0] = torch.tensor([8.0, 0.0, 20.0, 4.0])  # cell 1 wholly across, cell 2 half; half of row 0
    boxes[0, 1] = torch.tensor([0.0, 0.0, 48.0, 32.0])  # one of the four frames of latent frame 1
    cells = face_cells(boxes, torch.zeros(1, 2, 16, 4, 6))
    expected = torch.zeros(4, 6)
    expected[0, 1], expected[0, 2] = 0.5, 0.25
    torch.testing.assert_close(cells[0, 0], expected)
    torch.testing.assert_close(cells[0, 1], torch.full((4, 6), 0.25))


def face_in_the_middle(batch: Batch) -> torch.Tensor:
    cells = torch.zeros(len(batch.ids), batch.latents.shape[1], 4, 6)
    cells[:, :, 1:3, 2:4] = 1
    return cells


def test_an_aligner_that_reads_the_face_alone_and_one_that_reads_everything():
    batch = batch_of()
    cells = face_in_the_middle(batch)
    found = focus(Reader(cells[0, 0]), batch, cells)
    assert found == pytest.approx({"face_gradient": 1.0, "face_area": 4 / 24})
    blind = focus(Reader(torch.ones(4, 6)), batch, cells)
    assert blind["face_gradient"] == pytest.approx(4 / 24, abs=0.05)


def test_frames_without_a_face_do_not_count():
    batch = batch_of()
    cells = face_in_the_middle(batch)
    cells[:, 1] = 0
    assert focus(Reader(cells[0, 0]), batch, cells)["face_area"] == pytest.approx(4 / 24)


def test_the_share_of_depth_is_in_units_of_its_spread():
    batch = batch_of()
    cells = face_in_the_middle(batch)
    alike = Reader(torch.ones(4, 6), depth=1.0)
    assert focus(alike, batch, cells)["depth_gradient"] == pytest.approx(0.5, abs=1e-5)
    alike.std[2:] = 3.0
    assert focus(alike, batch, cells)["depth_gradient"] == pytest.approx(0.75, abs=1e-5)


def test_small_and_large_faces_are_scored_apart():
    batch = batch_of()
    cells = torch.zeros(4, 2, 4, 6)
    cells[0, :, 0, 0] = cells[2, :, 0, 0] = 1
    cells[1], cells[3] = 1, 0.5
    answers = batch.id_embeds.clone()
    answers[[0, 2]] *= -1
    found = by_face_size(answers, batch, cells)
    assert found == pytest.approx({"small_faces": -1, "large_faces": 1})


def test_borrowed_depth_tells_who_reads_depth():
    batch = batch_of()
    deep = Reader(torch.zeros(4, 6), depth=1.0)
    truth = torch.nn.functional.normalize(deep(batch.latents, batch.depth_latents), dim=-1)
    batch = dataclasses.replace(batch, id_embeds=truth)
    found = borrowed_depth(deep, batch, ["a", "b", "c", "d"])
    assert found["own"] == pytest.approx(1) and found["other_borrowed"] == pytest.approx(1)
    assert found["own_borrowed"] < 0.9 and found["other"] < 0.9
    shallow = Reader(torch.ones(4, 6), depth=0.0)
    same = borrowed_depth(shallow, batch, ["a", "b", "c", "d"])
    assert same["own"] == same["own_borrowed"] and same["other"] == same["other_borrowed"]


def test_borrowed_depth_needs_depth_and_other_people():
    batch = batch_of()
    with pytest.raises(ValueError, match="got use_depth=False"):
        borrowed_depth(Reader(torch.ones(4, 6)), batch, ["a", "b", "c", "d"])
    with pytest.raises(
        ValueError, match="clips of 1 people; expected an aligner with depth and at least two people"
    ):
        borrowed_depth(Reader(torch.ones(4, 6), depth=1.0), batch, ["a", "a", "a", "a"])
