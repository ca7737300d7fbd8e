"""Text score: plain cosines, cut captions counted."""

import pytest
import torch

from semrepa.metrics.text import text_score
from semrepa.provenance import Provenance


class Channels:
    """Sees how red, green and blue a picture is; reads the colours that a caption names."""

    provenance = Provenance(name="channels", source="a test", kind="random")
    max_tokens = 4

    def see(self, pictures):
        return pictures.float().mean(dim=(2, 3))

    def read(self, captions):
        named = [[float(color in caption) for color in ("red", "green", "blue")] for caption in captions]
        return torch.tensor(named), torch.tensor([len(caption.split()) for caption in captions])


def color(red: int, green: int, blue: int) -> torch.Tensor:
    return torch.tensor([red, green, blue], dtype=torch.uint8)[:, None, None].expand(3, 4, 6)


def test_cosine_of_each_frame_and_captions_that_were_cut():
    frames = torch.stack([torch.stack([color(9, 0, 0), color(9, 9, 0)]), torch.stack([color(0, 0, 5)] * 2)])
    found = text_score(frames, ["red", "a very long and red caption"], Channels(), batch=3)
    torch.testing.assert_close(found.frames, torch.tensor([[1.0, 2**-0.5], [0.0, 0.0]]))
    assert found.truncated.tolist() == [False, True]
    assert found.provenance.kind == "random"


def test_cosines_below_zero_are_kept():
    class Opposite(Channels):
        def see(self, pictures):
            return -super().see(pictures)

    found = text_score(color(9, 0, 0)[None, None], ["red"], Opposite())
    assert found.frames.item() == pytest.approx(-1)


def test_wrong_captions_and_frames_are_refused():
    frames = torch.zeros(2, 2, 3, 4, 6, dtype=torch.uint8)
    for captions in (["red"], ["red", " "]):
        with pytest.raises(ValueError, match="for 2 clips; expected one text for each"):
            text_score(frames, captions, Channels())
    with pytest.raises(ValueError, match="finite float"):
        text_score(frames / 255 * torch.nan, ["red", "blue"], Channels())
