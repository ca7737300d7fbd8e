"""LPIPS over clips: each frame by itself, padding, and what is refused."""

from inspect import unwrap

import pytest
import torch

from semrepa.metrics.perceptual import lpips
from semrepa.provenance import Provenance


class Difference:
    """Mean absolute difference of brightness."""

    provenance = Provenance(name="difference", source="a test", kind="random")

    def __call__(self, pictures, reference):
        return (pictures.float() - reference.float()).abs().mean(dim=(1, 2, 3))


def test_each_frame_is_compared_with_its_own():
    frames, truth = torch.randint(0, 256, (2, 2, 5, 3, 8, 10), dtype=torch.uint8)
    expected = (frames.float() - truth.float()).abs().mean(dim=(2, 3, 4))
    torch.testing.assert_close(lpips(frames, truth, Difference(), batch=3), expected)
    torch.testing.assert_close(lpips(frames / 255, truth, Difference()), expected)
    inner = lpips(frames, truth, Difference(), content=(0, 2, 8, 6))
    torch.testing.assert_close(inner, lpips(frames[..., 2:8], truth[..., 2:8], Difference()))


def test_wrong_length_and_nonsense_are_refused():
    frames = torch.zeros(1, 3, 3, 8, 8, dtype=torch.uint8)
    with pytest.raises(ValueError, match=r"\(1, 3, 3, 8, 8\) and reference \(1, 2, 3, 8, 8\)"):
        unwrap(lpips)(frames, frames[:, :2], Difference())
    with pytest.raises(ValueError, match="finite float"):
        lpips(frames / 255 * torch.nan, frames, Difference())
    broken = Difference()
    with pytest.raises(ValueError, match="check the weights of a test"):
        lpips(
            frames,
            frames,
            type(
                "Broken",
                (),
                {"provenance": broken.provenance, "__call__": lambda *_: torch.full((3,), torch.nan)},
            )(),
        )
