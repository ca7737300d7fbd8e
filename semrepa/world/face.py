"""The painted face: a procedural texture over head coordinates, in half head widths (x right, y up)."""

import numpy as np

from semrepa.world.motion import HEAD_UNIT, Controls
from semrepa.world.person import Person

Array = np.ndarray
F = np.float32


class FacePainter:
    """Paints features onto the colours (3, n) of face pixels at x, y, z (n,), softened over `soft` units."""

    def __init__(self, person: Person, controls: Controls, points: Array, soft: float) -> None:
        """Start from bare skin; `points` (3, n) are head coordinates in metres."""
        self.person, self.controls, self.soft = person, controls, max(soft, 0.012)
        self.x, self.y, self.z = (points / F(HEAD_UNIT)).astype(F)
        self.color = np.repeat(np.array(person.skin, F)[:, None], self.x.size, axis=1)
        self.front = np.clip(self.z / F(0.35), 0, 1)

    def _cover(self, signed: Array, soft: float | None = None) -> Array:
        """1 inside (signed < 0), 0 outside, a ramp between."""
        return np.clip(F(0.5) - signed / F(soft or self.soft), 0, 1)

    def _mix(self, cover: Array, color: object) -> None:
        self.color += cover * (np.asarray(color, F).reshape(3, -1) - self.color)

    def _blob(self, cx: float, cy: float, rx: float, ry: float) -> Array:
        """Squared elliptic distance, 1 on the ellipse."""
        return ((self.x - F(cx)) / F(rx)) ** 2 + ((self.y - F(cy)) / F(ry)) ** 2

    def paint(self) -> Array:
        """All features, back to front; returns colours (3, n)."""
        self._skin()
        self._beard()
        self._nose()
        self._mouth()
        for side in (-1.0, 1.0):
            self._eye(side)
            self._brow(side)
        if self.person.glasses != "none":
            self._glasses()
        return self.color

    def _skin(self) -> None:
        p = self.person
        skin = np.array(p.skin, F)
        rosy = skin * np.array((1.02, 0.74, 0.72), F)
        for side in (-1, 1):
            self._mix(
                F(0.5 * p.blush) * self.front * np.exp(-2 * self._blob(side * 0.55, -0.38, 0.34, 0.28)), rosy
            )
            self._mix(
                F(0.22) * self.front * np.exp(-self._blob(side * p.eye_spacing, p.eye_height, 0.30, 0.24)),
                skin * 0.72,
            )
        if p.freckles:
            spots = np.sin(self.x * 27 + 0.9 * np.sin(self.y * 13)) * np.sin(
                self.y * 27 + 0.9 * np.sin(self.x * 11)
            )
            where = np.exp(-1.3 * self._blob(0.0, -0.25, 0.72, 0.26)) * self.front
            self._mix(
                F(0.75 * p.freckles) * where * np.clip(spots * 4 - F(1.9), 0, 1),
                skin * np.array((0.68, 0.50, 0.42), F),
            )
        if p.mole:
            self._mix(self.front * self._cover(np.sqrt(self._blob(*p.mole, 1, 1)) - F(0.045)), skin * 0.35)

    def _beard(self) -> None:
        p = self.person
        if p.beard == "none":
            return
        hair = 0.85 * np.array(p.hair if p.hair_style != "bald" else (0.2, 0.14, 0.1), F)
        lip_y, half = p.mouth_height, p.mouth_width
        upper = self._cover(
            np.maximum(
                np.abs(self.y - F(lip_y + 0.14) + 0.35 * self.x**2) - F(0.075),
                np.abs(self.x) - F(half + 0.08),
            ),
            0.08,
        )
        line = F(-0.40) - 0.25 * (1 - np.minimum(self.x * self.x * 1.6, 1)) - F(0.10)
        full = self._cover(self.y - np.where(np.abs(self.x) > 0.80, F(-0.15), line), 0.16)
        chin = self._cover(np.sqrt(self._blob(0.0, lip_y - 0.42, half + 0.06, 0.34)) - 1, 0.25)
        around = self._cover(
            np.abs(np.sqrt(self._blob(0.0, lip_y - 0.06, half + 0.10, 0.30)) - 1) - F(0.16), 0.2
        )
        shape, strength = {
            "full": (np.maximum(full, upper), 0.93),
            "stubble": (np.maximum(full, upper), 0.38),
            "goatee": (np.maximum(chin, around), 0.92),
            "mustache": (upper, 0.95),
        }[p.beard]
        self._mix(F(strength) * shape * self.front, hair)

    def _nose(self) -> None:
        p = self.person
        tip, width = -0.40 * p.nose_length, 0.15 * p.nose_width
        skin = np.array(p.skin, F)
        self._mix(
            F(0.30) * self.front * np.exp(-1.4 * self._blob(0.0, tip - 0.08, width * 1.4, 0.07)), skin * 0.55
        )
        self._mix(
            F(0.25) * self.front * np.exp(-2 * self._blob(0.0, tip + 0.12, width * 0.6, 0.10)),
            np.minimum(skin * 1.15, 1),
        )
        for side in (-1, 1):
            hole = self._cover(np.sqrt(self._blob(side * width * 0.55, tip - 0.065, 0.055, 0.032)) - 1, 0.5)
            self._mix(F(0.75) * hole * self.front, skin * 0.38)

    def _mouth(self) -> None:
        p, c = self.person, self.controls
        half, lips = F(p.mouth_width), F(p.lip_thickness)
        bend = F(p.smile + c.smile) * (self.x / half) ** 2
        y = self.y - F(p.mouth_height) - bend + F(0.02)
        taper = np.clip(1 - (self.x / half) ** 2, 0, 1)
        gap = F(0.012 + 0.115 * max(c.mouth, 0.0)) * np.sqrt(taper)
        wide = np.abs(self.x) - half
        thick = lips * np.sqrt(taper)
        lip = self._cover(np.maximum(np.maximum(y - gap - thick * F(0.75), -y - gap - thick), wide))
        self._mix(lip * self.front * F(0.9), p.lip)
        inner = self._cover(np.maximum(np.abs(y) - gap, wide))
        self._mix(inner * self.front, np.array(p.lip, F) * 0.28)
        if c.mouth > 0.12:
            teeth = self._cover(np.maximum(np.maximum(y - gap, -y + gap * F(0.25)), wide + F(0.05)))
            self._mix(teeth * inner * self.front * F(min(1.0, 4 * (c.mouth - 0.12))), (0.95, 0.94, 0.90))

    def _eye(self, side: float) -> None:
        p, c = self.person, self.controls
        cx, cy = side * p.eye_spacing, p.eye_height
        dx, dy = self.x - F(cx), self.y - F(cy)
        dy = dy - F(side * p.eye_tilt) * dx
        half = F(0.205 * p.eye_size)
        tall = F(0.135 * p.eye_size) * np.sqrt(np.clip(1 - (dx / half) ** 2, 0, 1))
        open_ = F(1 - 0.94 * c.blink)
        upper, lower = tall * (2 * open_ - 1), -tall * F(0.85)
        inside = self._cover(np.maximum(np.maximum(dy - upper, lower - dy), np.abs(dx) - half)) * self.front
        self._mix(inside, (0.97, 0.97, 0.96))
        r = np.sqrt(dx * dx + dy * dy)
        size = F(0.108 * (0.6 + 0.4 * p.eye_size))
        self._mix(
            inside * self._cover(r - size),
            np.array(p.eye, F)[:, None] * np.clip(0.55 + 0.55 * r / size, 0, 1),
        )
        self._mix(inside * self._cover(r - F(0.5) * size), (0.03, 0.03, 0.04))
        glint = np.sqrt((dx + F(0.035)) ** 2 + (dy - F(0.04)) ** 2) - F(0.028)
        self._mix(inside * self._cover(glint), (1.0, 1.0, 1.0))
        lash = 0.040 if p.kind == "woman" else 0.026
        lid = self._cover(np.maximum(np.abs(dy - upper) - F(lash), np.abs(dx) - half * F(1.06))) * self.front
        self._mix(lid * F(0.9), (0.10, 0.06, 0.06))

    def _brow(self, side: float) -> None:
        p = self.person
        dx = (self.x - F(side * (p.eye_spacing + 0.02))) * F(side)
        arch = F(p.eye_height + p.brow_height) + F(p.brow_tilt) * dx - F(0.9) * dx * dx
        half = F(0.25)
        thick = F(p.brow_thickness) * np.clip(
            F(1.15) - (np.clip(dx / half, -1, 1) * F(0.5) + F(0.5)) * F(0.55), 0.3, 1.2
        )
        cover = self._cover(np.maximum(np.abs(self.y - arch) - thick, np.abs(dx) - half)) * self.front
        tone = np.array(p.hair if p.hair_style != "bald" else (0.25, 0.17, 0.12), F)
        self._mix(cover * F(0.92), 0.62 * tone + 0.02)

    def _glasses(self) -> None:
        p = self.person
        cx, cy, r = p.eye_spacing, p.eye_height - 0.02, min(0.30, p.eye_spacing - 0.055)
        side = np.abs(self.x)
        dx, dy = side - F(cx), self.y - F(cy)
        if p.glasses == "round":
            ring = np.sqrt(dx * dx + dy * dy) - F(r)
        else:
            qx, qy = np.abs(dx) - F(r - 0.07), np.abs(dy) - F(0.72 * r - 0.07)
            ring = (
                np.sqrt(np.maximum(qx, 0) ** 2 + np.maximum(qy, 0) ** 2)
                + np.minimum(np.maximum(qx, qy), 0)
                - F(0.07)
            )
        self._mix(F(0.13) * self._cover(ring) * self.front, (0.85, 0.93, 1.0))
        frame = self._cover(np.abs(ring) - F(0.034))
        bridge = self._cover(np.maximum(np.abs(self.y - F(cy + 0.06)) - F(0.03), side - F(cx - r + 0.02)))
        temple = self._cover(np.maximum(np.abs(self.y - F(cy + 0.06)) - F(0.032), F(cx + r) - side)) * (
            self.z > -0.1
        )
        self._mix(np.maximum(np.maximum(frame, bridge) * self.front, temple), p.glasses_color)
