"""Explorers: small instruments to look at one thing under a few controls.

Each is a pure `render` of a state, a thin shell of controls, and a `static()` picture for reports. Those
that play videos (`depth_scrubber`, `versus`) run in the page itself, without a kernel; the others redraw
one picture.
"""

from semrepa.ui.explorers.balance import weight_explorer
from semrepa.ui.explorers.depth import depth_scrubber
from semrepa.ui.explorers.distances import distance_explorer, first_faces
from semrepa.ui.explorers.faces import identity_over_frames
from semrepa.ui.explorers.latents import latent_browser
from semrepa.ui.explorers.noise import noise_explorer, noise_level_explorer
from semrepa.ui.explorers.shell import Explorer
from semrepa.ui.explorers.versus import Versus, versus

__all__ = [
    "Explorer",
    "Versus",
    "depth_scrubber",
    "distance_explorer",
    "first_faces",
    "identity_over_frames",
    "latent_browser",
    "noise_explorer",
    "noise_level_explorer",
    "versus",
    "weight_explorer",
]
