"""The sample world: rendered people whose depth, face and identity are known exactly."""

from semrepa.world.person import Person
from semrepa.world.render import RenderedClip, render_clip
from semrepa.world.sampling import sample_spec
from semrepa.world.spec import MOTIONS, SHOTS, ClipSpec

__all__ = ["MOTIONS", "SHOTS", "ClipSpec", "Person", "RenderedClip", "render_clip", "sample_spec"]
