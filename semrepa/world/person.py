"""Who is in the clip: an identity number becomes fixed features of face, hair and build."""

from dataclasses import dataclass

import numpy as np

from semrepa.world import palette
from semrepa.world.palette import RGB
from semrepa.world.spec import check_seed

_STREAM_PERSON = 200
_WOMAN_STYLES = {
    "long": 3,
    "bob": 2,
    "bun": 2,
    "curly": 1.5,
    "ponytail": 2.5,
    "fringe": 2,
    "wavy": 2.5,
    "short": 1,
    "parted": 0.5,
}
_MAN_STYLES = {
    "short": 3,
    "parted": 3,
    "curly": 2,
    "bald": 1.5,
    "balding": 1.5,
    "mohawk": 1,
    "long": 0.7,
    "bun": 0.5,
    "fringe": 0.7,
}


@dataclass(frozen=True, kw_only=True)
class Person:
    """Features of one identity. Lengths of the face are in units of half a standard head width."""

    identity: int
    kind: str
    """"woman" or "man"."""
    skin_name: str
    skin: RGB
    hair_style: str
    hair_name: str
    hair: RGB
    eye_name: str
    eye: RGB
    glasses: str
    glasses_color: RGB
    beard: str
    freckles: float
    """0 (none) to 1."""
    mole: tuple[float, float] | None
    head_width: float
    """Factor around 1, likewise height, jaw and chin."""
    head_height: float
    jaw_width: float
    chin: float
    eye_spacing: float
    """Eye centre to the middle of the face."""
    eye_size: float
    eye_tilt: float
    eye_height: float
    brow_thickness: float
    brow_tilt: float
    brow_height: float
    nose_width: float
    nose_length: float
    mouth_width: float
    mouth_height: float
    lip_thickness: float
    lip: RGB
    smile: float
    blush: float
    ear: float
    hair_volume: float
    hairline: float
    part_side: float
    """-1 or 1: the side of the parting."""
    stature: float
    """Factor of body height around 1."""
    shoulders: float
    girth: float

    @classmethod
    def from_identity(cls, identity: int) -> "Person":
        """The person that belongs to an identity number.

        Args:
            identity: Integer from 0 to 2**32 - 1.

        Returns:
            The person; equal numbers give equal people.

        Raises:
            ValueError: If it is no such integer.
        """
        check_seed("identity", identity)
        rng = np.random.default_rng([int(identity), _STREAM_PERSON])
        return cls(identity=int(identity), **_draw_look(rng), **_draw_shape(rng))


def _pick(rng: np.random.Generator, weights: dict[str, float]) -> str:
    p = np.array(list(weights.values()), dtype=float)
    return list(weights)[
        int(np.searchsorted(np.cumsum(p / p.sum()), rng.random(), side="right").clip(0, len(p) - 1))
    ]


def _jitter(rng: np.random.Generator, color: RGB, amount: float) -> RGB:
    shift = rng.uniform(-amount, amount, 3) * 0.5 + rng.uniform(-amount, amount)
    r, g, b = np.clip(np.array(color) + shift, 0.02, 1.0)
    return float(r), float(g), float(b)


def _draw_look(rng: np.random.Generator) -> dict[str, object]:
    """Everything that has a name: colours, hair style, glasses, beard."""
    kind = "woman" if rng.random() < 0.5 else "man"
    skin_name = _pick(rng, dict.fromkeys(palette.SKINS, 1.0))
    hair_name = _pick(rng, dict(zip(palette.HAIRS, palette.HAIR_WEIGHTS, strict=True)))
    style = _pick(rng, _WOMAN_STYLES if kind == "woman" else _MAN_STYLES)
    eye_name = _pick(rng, {"brown": 1.0, "blue": 1.0, "green": 0.8, "gray": 0.6})
    glasses = _pick(rng, {"none": 0.65, "round": 0.18, "square": 0.17})
    beards = (
        {"none": 1.0}
        if kind == "woman"
        else {"none": 0.42, "stubble": 0.12, "full": 0.2, "goatee": 0.13, "mustache": 0.13}
    )
    skin = _jitter(rng, palette.SKINS[skin_name], 0.03)
    rosy = np.array((0.78, 0.20, 0.26)) if kind == "woman" else np.array((0.66, 0.32, 0.28))
    lip = tuple(float(c) for c in (0.45 * np.array(skin) + 0.55 * rosy) * rng.uniform(0.85, 1.02))
    mole = (float(rng.choice([-1, 1]) * rng.uniform(0.3, 0.6)), float(rng.uniform(-0.75, -0.3)))
    return dict(
        kind=kind,
        skin_name=skin_name,
        skin=skin,
        hair_style=style,
        hair_name=hair_name,
        hair=_jitter(rng, palette.HAIRS[hair_name], 0.025),
        eye_name=eye_name,
        eye=_jitter(rng, palette.EYES[eye_name], 0.04),
        glasses=glasses,
        glasses_color=palette.FRAMES[int(rng.integers(len(palette.FRAMES)))],
        beard=_pick(rng, beards),
        freckles=float(rng.uniform(0.5, 1.0)) if rng.random() < 0.2 else 0.0,
        mole=mole if rng.random() < 0.2 else None,
        lip=lip,
    )


def _draw_shape(rng: np.random.Generator) -> dict[str, float]:
    """Everything that is a length or a strength."""
    ranges = dict(
        head_width=(0.92, 1.08),
        head_height=(0.94, 1.06),
        jaw_width=(0.72, 0.98),
        chin=(0.92, 1.10),
        eye_spacing=(0.36, 0.47),
        eye_size=(0.85, 1.22),
        eye_tilt=(-0.16, 0.16),
        eye_height=(-0.04, 0.08),
        brow_thickness=(0.028, 0.075),
        brow_tilt=(-0.25, 0.25),
        brow_height=(0.27, 0.38),
        nose_width=(0.75, 1.35),
        nose_length=(0.85, 1.12),
        mouth_width=(0.25, 0.39),
        mouth_height=(-0.76, -0.66),
        lip_thickness=(0.045, 0.10),
        smile=(0.04, 0.15),
        blush=(0.0, 0.8),
        ear=(0.85, 1.2),
        hair_volume=(0.9, 1.15),
        hairline=(-0.07, 0.09),
        stature=(0.94, 1.06),
        shoulders=(0.92, 1.08),
        girth=(0.88, 1.14),
    )
    drawn = {name: float(rng.uniform(low, high)) for name, (low, high) in ranges.items()}
    drawn["part_side"] = 1.0 if rng.random() < 0.5 else -1.0
    return drawn
