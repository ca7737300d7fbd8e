"""What figures ask of what they are given."""

from collections.abc import Mapping


def check_lengths(lengths: Mapping[str, int], what: str, advice: str) -> None:
    """Refuse parts that do not belong to the same things.

    Args:
        lengths: part to how many it has.
        what: what is counted, in the plural, such as `frames`.
        advice: what to do.

    Raises:
        ValueError: lengths that differ, or are 0.
    """
    told = ", ".join(f"{name}: {length}" for name, length in lengths.items()) or "nothing"
    if not lengths or not min(lengths.values()):
        raise ValueError(f"got {what} of {told}; expected at least one each; {advice}")
    if len(set(lengths.values())) > 1:
        raise ValueError(f"got {what} of {told}; expected equally many; {advice}")
