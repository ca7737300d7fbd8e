"""Colour tables of the sample world: name -> RGB in [0, 1], chosen far apart so that names mean something."""

RGB = tuple[float, float, float]

SKINS: dict[str, RGB] = {
    "fair": (0.99, 0.84, 0.75),
    "light": (0.95, 0.76, 0.62),
    "tan": (0.85, 0.62, 0.45),
    "brown": (0.65, 0.43, 0.29),
    "dark": (0.45, 0.29, 0.20),
}
HAIRS: dict[str, RGB] = {
    "black": (0.09, 0.08, 0.09),
    "brown": (0.33, 0.19, 0.10),
    "red": (0.72, 0.25, 0.08),
    "blond": (0.90, 0.72, 0.36),
    "gray": (0.66, 0.66, 0.68),
    "white": (0.93, 0.92, 0.88),
    "blue": (0.16, 0.36, 0.78),
    "pink": (0.93, 0.42, 0.62),
    "green": (0.15, 0.55, 0.34),
}
HAIR_WEIGHTS = (0.20, 0.20, 0.16, 0.16, 0.08, 0.05, 0.06, 0.05, 0.04)
EYES: dict[str, RGB] = {
    "brown": (0.33, 0.18, 0.08),
    "blue": (0.18, 0.45, 0.80),
    "green": (0.20, 0.52, 0.28),
    "gray": (0.45, 0.52, 0.56),
}
CLOTH: dict[str, RGB] = {
    "red": (0.83, 0.17, 0.16),
    "orange": (0.95, 0.52, 0.13),
    "yellow": (0.96, 0.80, 0.22),
    "green": (0.17, 0.55, 0.29),
    "blue": (0.17, 0.36, 0.76),
    "purple": (0.48, 0.25, 0.66),
    "pink": (0.94, 0.52, 0.66),
    "white": (0.93, 0.93, 0.91),
    "gray": (0.47, 0.49, 0.53),
    "black": (0.15, 0.15, 0.18),
}
WALLS: dict[str, RGB] = {
    "green": (0.62, 0.76, 0.63),
    "blue": (0.60, 0.73, 0.86),
    "yellow": (0.93, 0.86, 0.64),
    "pink": (0.91, 0.75, 0.74),
    "white": (0.90, 0.89, 0.86),
    "gray": (0.66, 0.69, 0.72),
    "purple": (0.74, 0.69, 0.84),
    "orange": (0.93, 0.74, 0.56),
}
FLOORS: dict[str, tuple[RGB, RGB]] = {
    "wood": ((0.66, 0.47, 0.31), (0.59, 0.41, 0.27)),
    "stone": ((0.62, 0.61, 0.60), (0.55, 0.54, 0.54)),
    "carpet": ((0.52, 0.42, 0.50), (0.52, 0.42, 0.50)),
}
TOPS: dict[str, float] = {"t-shirt": 0.62, "shirt": 2.0, "sweater": 2.0}
"""Sleeve length: 1 reaches the elbow, 2 the wrist."""
BOTTOMS: dict[str, float] = {"trousers": 2.2, "shorts": 0.80, "skirt": 0.0}
"""Leg length: 1 reaches the knee, 2 the ankle; a skirt is a body of its own."""
BOTTOM_WEIGHTS = (0.6, 0.2, 0.2)
FRAMES: tuple[RGB, ...] = ((0.08, 0.08, 0.10), (0.42, 0.10, 0.10), (0.10, 0.18, 0.42), (0.45, 0.28, 0.10))
