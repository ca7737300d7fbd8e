"""Random records in the shape of a feature store, for 9 frames of 32x48."""

import torch
from tiny import TEXT_LENGTH, TEXT_WIDTH

TRAIN = ("a", "b", "c", "d", "e")
HELDOUT = ("x", "faceless")


def record(seed: int, *, face: bool = True) -> dict[str, torch.Tensor]:
    """Features of one clip; its depth is a simple function of the video, so that it can be learned."""
    draw = torch.Generator().manual_seed(seed)
    latents = torch.randn(3, 16, 4, 6, generator=draw)
    mask = torch.rand(9, generator=draw) < (0.8 if face else -1.0)
    embeds = torch.nn.functional.normalize(torch.randn(512, generator=draw), dim=0) * mask[:, None]
    return {
        "latents": latents.half(),
        "depth_latents": (latents.flip(1) * 0.5 + 1).half(),
        "depth_range": torch.tensor([0.0, 1.0]),
        "first_frame": torch.randint(0, 256, (3, 32, 48), generator=draw).to(torch.uint8),
        "prompt_embeds": torch.randn(TEXT_LENGTH, TEXT_WIDTH, generator=draw).half(),
        "id_embeds": embeds.half(),
        "face_mask": mask,
        "face_boxes": torch.zeros(9, 4),
    }
