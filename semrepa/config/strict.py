"""Strict construction of nested frozen dataclasses from plain values.

Knows nothing of the run's fields: names, types and ranges are read from the annotations of the dataclass.
A wrong name gets the nearest right one; a wrong type or range says what came, what is expected.
"""

import dataclasses
import difflib
import math
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import yaml

# YAML 1.1 reads 1e-4 (no dot) as text; nobody means text where a number is wanted.
_EXPONENT = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")


@dataclass(frozen=True)
class Within:
    """Inclusive range of a number, or of each number of a tuple."""

    low: float
    high: float = math.inf

    def check(self, name: str, value: float | tuple[float, ...] | None) -> None:
        """Refuse a value outside the range.

        Args:
            name: field name for the message.
            value: number or tuple of numbers; None means "not set" and passes.

        Raises:
            ValueError: outside the range, or not finite.
        """
        values = value if isinstance(value, tuple) else () if value is None else (value,)
        if not all(math.isfinite(number) and self.low <= number <= self.high for number in values):
            upper = "" if self.high == math.inf else f" and at most {self.high:g}"
            raise ValueError(f"{name}: got {value!r}; expected at least {self.low:g}{upper}")


@dataclass(frozen=True)
class HexDigest:
    """64 hexadecimal digits, or nothing."""

    def check(self, name: str, value: str | None) -> None:
        """Refuse anything that is no SHA-256.

        Args:
            name: field name for the message.
            value: digits; None means "not set" and passes.

        Raises:
            ValueError: another number of digits, or other letters.
        """
        if value is not None and not re.fullmatch("[0-9a-f]{64}", value):
            raise ValueError(
                f"{name}: got {value!r}; expected the 64 digits that sha256sum prints, in lower case"
            )


@dataclass(frozen=True, kw_only=True)
class Section:
    """A group of fields whose `Annotated[..., Within(...)]` fields are checked as soon as it is made."""

    def __post_init__(self) -> None:
        for name, hint in typing.get_type_hints(type(self), include_extras=True).items():
            for rule in getattr(hint, "__metadata__", ()):
                rule.check(name, getattr(self, name))


T = TypeVar("T", bound=Section)


def override(cfg: T, changes: Mapping[str, Any] | Iterable[str]) -> T:
    """Copy of a config with some values changed.

    Args:
        cfg: a frozen dataclass, nested or not.
        changes: `{"loss.weight_id": 10, "video": {"num_frames": 9}}`, or texts `["loss.weight_id=10"]` whose
            right side is read as a YAML scalar or list.

    Returns:
        The changed copy; integers have become floats and lists tuples where the field asks for it.

    Raises:
        ValueError: unknown or doubled name, value out of range, text without "=".
        TypeError: a value of the wrong type, for example a text where a bool is expected.
    """
    if isinstance(changes, str):
        raise TypeError(f'overrides: got {changes!r}; expected a dictionary, or a list like ["a.b=1"]')
    pairs = changes.items() if isinstance(changes, Mapping) else map(read_pair, changes)
    return build(type(cfg), _nest(pairs), base=cfg)


def build(cls: type[T], values: Mapping[str, Any], *, base: T | None = None, path: str = "") -> T:
    """Dataclass from plain values, for example those of a JSON file.

    Args:
        cls: a frozen keyword-only dataclass.
        values: value by field name; a nested dataclass takes a dictionary.
        base: takes its values for the fields not named; None leaves those to their defaults.
        path: dotted prefix for messages.

    Returns:
        A new `cls`.

    Raises:
        ValueError: unknown, fixed or missing name, or a value out of range.
        TypeError: a value of the wrong type.
    """
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    required = {name for name, field in fields.items() if field.default is dataclasses.MISSING}
    known = {} if base is None else {name: getattr(base, name) for name in fields}
    for name, value in values.items():
        where = f"{path}{name}"
        if name not in fields:
            raise ValueError(f"{where}: unknown name{_nearest(name, path, hints)}")
        if base is not None and (reason := fields[name].metadata.get("fixed")):
            raise ValueError(f"{where}: cannot be changed; {reason}")
        if dataclasses.is_dataclass(hints[name]) and isinstance(value, Mapping):
            known[name] = build(hints[name], value, base=known.get(name), path=f"{where}.")
        else:
            known[name] = coerce(value, hints[name], where)
    if missing := required - known.keys():
        names = ", ".join(sorted(missing))
        raise ValueError(f"{path.rstrip('.') or 'config'}: missing {names}; expected a value for each")
    try:
        return cls(**known)
    except ValueError as error:
        raise ValueError(f"{path}{error}") from error


def coerce(value: object, hint: Any, where: str) -> Any:
    """Value as the annotated type, where nothing is lost: int to float, list to tuple, "1e-4" to float.

    Args:
        value: what the user gave.
        hint: a scalar type, `X | None`, a Literal, or a tuple of scalars.
        where: dotted name for messages.

    Returns:
        The value in the annotated type.

    Raises:
        TypeError: a value of another type.
        ValueError: not one of a Literal's choices, or a tuple of the wrong length.
    """
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return None if value is None else coerce(value, args[0], where)
    if origin is typing.Literal:
        if value not in args:
            raise ValueError(f"{where}: got {value!r}; expected one of {', '.join(map(repr, args))}")
        return value
    if origin is tuple:
        return _coerce_tuple(value, args, where)
    if hint is float and isinstance(value, str) and _EXPONENT.fullmatch(value):
        return float(value)
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        raise TypeError(f"{where}: got {value!r} ({type(value).__name__}); expected {_spoken(hint)}")
    return value


def _coerce_tuple(value: object, args: tuple[Any, ...], where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise TypeError(f"{where}: got {value!r} ({type(value).__name__}); expected a list")
    hints = args[:1] * len(value) if args[-1] is Ellipsis else args
    if len(hints) != len(value):
        raise ValueError(f"{where}: got {len(value)} values; expected {len(hints)}")
    items = enumerate(zip(value, hints, strict=True))
    return tuple(coerce(item, hint, f"{where}[{place}]") for place, (item, hint) in items)


def _spoken(hint: Any) -> str:
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    return words.get(hint, "a dictionary of its fields")


def _nearest(name: str, path: str, hints: Mapping[str, Any]) -> str:
    sections = {
        name: dataclasses.fields(hint) for name, hint in hints.items() if dataclasses.is_dataclass(hint)
    }
    inner = [f"{section}.{leaf.name}" for section, leaves in sections.items() for leaf in leaves]
    same_leaf = [dotted for dotted in inner if dotted.endswith(f".{name}")]
    close = same_leaf or difflib.get_close_matches(name, [*hints, *inner], n=1)
    if close:
        return f"; did you mean {' or '.join(path + match for match in close)}?"
    return f"; expected one of {', '.join(hints)}"


def read_pair(text: str) -> tuple[str, Any]:
    """Read `name=value` as a command line gives it.

    Args:
        text: a name, "=", and a YAML scalar or list.

    Returns:
        Name and value.

    Raises:
        ValueError: no "=", or no YAML behind it.
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f'got {text!r}; expected name=value, like "loss.weight_id=10"')
    try:
        return name.strip(), yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise ValueError(f"got {text!r}; expected a YAML value after the =") from error


def _leaves(pairs: Iterable[tuple[str, Any]], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in pairs:
        if isinstance(value, Mapping):
            yield from _leaves(value.items(), f"{path}{name}.")
        else:
            yield f"{path}{name}", value


def _nest(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for dotted, value in _leaves(pairs):
        *sections, name = dotted.split(".")
        inner = nested
        for section in sections:
            inner = inner.setdefault(section, {})
            if not isinstance(inner, dict):
                raise ValueError(
                    f"{dotted}: {section} is also given a value of its own; expected one of them"
                )
        if name in inner:
            raise ValueError(f"{dotted}: given twice; expected one value")
        inner[name] = value
    return nested
