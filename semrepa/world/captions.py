"""Captions built from a small closed vocabulary."""

from semrepa.world.person import Person
from semrepa.world.spec import ClipSpec

_HAIR = {
    "short": "short {} hair",
    "parted": "parted {} hair",
    "long": "long {} hair",
    "bob": "a {} bob",
    "bun": "a {} bun",
    "curly": "curly {} hair",
    "ponytail": "a {} ponytail",
    "bald": "no hair",
    "balding": "thin {} hair",
    "fringe": "{} hair with a fringe",
    "mohawk": "a {} mohawk",
    "wavy": "long wavy {} hair",
}
_BEARD = {"none": "", "stubble": "stubble", "full": "a beard", "goatee": "a goatee", "mustache": "a mustache"}
_MOTION = {
    "walk": "walks slowly",
    "wave": "waves {} hand",
    "turn": "turns around",
    "dance": "dances",
    "squat": "does squats",
    "talk": "talks to the camera",
}
_SHOT = {"full": "full shot", "half": "half shot", "portrait": "portrait shot"}


def attributes(spec: ClipSpec) -> dict[str, str]:
    """The words that a caption is built from.

    Args:
        spec: The clip.

    Returns:
        Keys person, hair, glasses, beard, top, bottom, motion, room, shot; empty where nothing applies.
    """
    room = {"room": f"a room with {spec.wall} walls", "shot": _SHOT[spec.shot]}
    if spec.identity is None:
        return {
            **dict.fromkeys(("person", "hair", "glasses", "beard", "top", "bottom", "motion"), ""),
            **room,
        }
    person = Person.from_identity(spec.identity)
    own = "her" if person.kind == "woman" else "his"
    stripes = "striped " if spec.striped else ""
    return {
        "person": person.kind,
        "hair": _HAIR[person.hair_style].format(person.hair_name),
        "glasses": "" if person.glasses == "none" else "glasses",
        "beard": _BEARD[person.beard],
        "top": f"{stripes}{spec.top_color} {spec.top}",
        "bottom": f"{spec.bottom_color} {spec.bottom}",
        "motion": _MOTION[spec.motion].format(own),
        **room,
    }


def _listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def _with_article(words: str) -> str:
    return ("an " if words[0] in "aeiou" else "a ") + words


def caption(spec: ClipSpec) -> str:
    """One lower-case sentence about the clip, without a full stop."""
    a = attributes(spec)
    if not a["person"]:
        return f"an empty room with {spec.wall} walls, {a['shot']}"
    looks = _listed([words for words in (a["hair"], a["beard"], a["glasses"]) if words])
    clothes = _with_article(a["top"])
    if spec.shot == "full":
        clothes += " and " + (_with_article(a["bottom"]) if spec.bottom == "skirt" else a["bottom"])
    return f"a {a['person']} with {looks} in {clothes} {a['motion']} in {a['room']}, {a['shot']}"
