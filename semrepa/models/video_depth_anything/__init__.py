"""Video Depth Anything: the network, its weights, inference on long videos, and what it takes."""

from semrepa.models.video_depth_anything.load import load_video_depth_anything
from semrepa.models.video_depth_anything.memory import estimate_memory
from semrepa.models.video_depth_anything.model import FRAME_BATCH, VideoDepthAnything
from semrepa.models.video_depth_anything.preprocess import network_size, normalise
from semrepa.models.video_depth_anything.sizes import SIZES, Size, Variant

__all__ = [
    "FRAME_BATCH",
    "SIZES",
    "Size",
    "Variant",
    "VideoDepthAnything",
    "estimate_memory",
    "load_video_depth_anything",
    "network_size",
    "normalise",
]
