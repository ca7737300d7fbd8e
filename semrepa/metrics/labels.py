"""No number of a network is shown without the kind of its weights, where they are not real."""

from collections.abc import Iterable, Mapping

from semrepa.provenance import Kind

LEARNED = ("lpips", "fid", "kid", "motion", "text")
"""Beginnings of the names of scores that a network gives beside the teachers of a run."""


def labels(scores: Iterable[tuple[Iterable[str], Mapping[str, Kind]]]) -> dict[str, str]:
    """What to call each score in a table or figure.

    Args:
        scores: for each row, names of its scores, and the kinds of the networks behind those that have one.

    Returns:
        Label by name: the name, followed by the kind of weights where these are not real.

    Raises:
        ValueError: a score that a network gives without its kind, or one given by networks of several kinds.
    """
    kinds: dict[str, dict[Kind | None, None]] = {}
    for names, judges in scores:
        for name in names:
            kinds.setdefault(name, {})[judges.get(name)] = None
    if nameless := [name for name, found in kinds.items() if name.startswith(LEARNED) and None in found]:
        raise ValueError(
            f"got {', '.join(nameless)} without the kind of their weights; expected real, mini or random; "
            "put the `kind` of the network's provenance into `judges` of each row"
        )
    mixed = {name: found for name, found in kinds.items() if len(found) > 1}
    if mixed:
        listed = "; ".join(f"{name}: {', '.join(map(str, found))}" for name, found in mixed.items())
        raise ValueError(f"got scores of mixed kinds ({listed}); expected one; make a table for each")
    return {name: _label(name, next(iter(found))) for name, found in kinds.items()}


def _label(name: str, kind: Kind | None) -> str:
    return name if kind in (None, "real") else f"{name} ({kind} weights)"
