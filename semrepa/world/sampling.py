"""From one integer to a clip description: whatever is not named is drawn from the seed."""

import dataclasses
from typing import Literal

import numpy as np

from semrepa.world import palette
from semrepa.world.captions import caption
from semrepa.world.person import Person
from semrepa.world.spec import MOTIONS, STREAM_CHOICES, ClipSpec, check_seed, check_spec

SHOT_WEIGHTS = {"full": 0.20, "half": 0.35, "portrait": 0.45}


def sample_spec(
    seed: int,
    *,
    identity: int | Literal["auto"] | None = "auto",
    motion: str | None = None,
    shot: str | None = None,
    vertical: bool = False,
    empty: bool = False,
) -> ClipSpec:
    """Draw a clip description; every choice not named follows from the seed alone.

    Args:
        seed: Integer from 0 to 2**32 - 1.
        identity: Which person; "auto" takes the seed's number, None leaves the room empty.
        motion: One of `MOTIONS`, or None to draw one.
        shot: One of `SHOTS`, or None to draw one (portrait 0.45, half 0.35, full 0.20).
        vertical: Frame for tall pictures.
        empty: Leave the room empty, whatever `identity` says.

    Returns:
        The description, with its caption.

    Raises:
        ValueError: If a named choice is unknown.
    """
    check_seed("seed", seed)
    rng = np.random.default_rng([int(seed), STREAM_CHOICES])
    drawn_motion = MOTIONS[int(rng.integers(len(MOTIONS)))]
    drawn_shot = str(rng.choice(list(SHOT_WEIGHTS), p=list(SHOT_WEIGHTS.values())))
    who = None if empty else (int(seed) if isinstance(identity, str) and identity == "auto" else identity)
    scene = _draw_scene(rng)
    spec = ClipSpec(
        seed=int(seed),
        identity=who,
        motion=motion or drawn_motion,
        shot=shot or drawn_shot,
        vertical=bool(vertical),
        **scene,
    )
    check_spec(spec)
    if who is not None and spec.bottom == "skirt" and Person.from_identity(who).kind == "man":
        spec = dataclasses.replace(spec, bottom="trousers")
    return dataclasses.replace(spec, caption=caption(spec))


def _draw_scene(rng: np.random.Generator) -> dict[str, str | bool]:
    """Clothes and room; the shirt differs in colour from the wall and from what is worn below."""
    top = str(rng.choice(list(palette.TOPS)))
    top_color = str(rng.choice(list(palette.CLOTH)))
    striped = bool(rng.random() < 0.3)
    bottom = str(rng.choice(list(palette.BOTTOMS), p=list(palette.BOTTOM_WEIGHTS)))
    bottom_color = str(rng.choice([name for name in palette.CLOTH if name != top_color]))
    wall = str(rng.choice([name for name in palette.WALLS if name != top_color]))
    floor = str(rng.choice(list(palette.FLOORS)))
    return {
        "top": top,
        "top_color": top_color,
        "striped": striped,
        "bottom": bottom,
        "bottom_color": bottom_color,
        "wall": wall,
        "floor": floor,
    }
