"""What an ONNX file says about itself, read without its weights: an ONNX file is one protobuf message."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_GRAPH, _METADATA = 7, 14
"""Numbers of the fields of ONNX's ModelProto."""
_FIXED = {1: 8, 5: 4}
"""Bytes of the wire types of fixed length."""


def read_metadata(file: Path) -> dict[str, str]:
    """Metadata of an ONNX file.

    Args:
        file: the file.

    Returns:
        Text by key; empty where it has none.

    Raises:
        ValueError: it is no ONNX file, or not all of it.
    """
    size, entries, has_graph = file.stat().st_size, {}, False
    with file.open("rb") as stream:
        for number, length in _fields(stream, size):
            has_graph |= number == _GRAPH
            if number == _METADATA:
                start = stream.tell()
                parts = {n: stream.read(length_) for n, length_ in _fields(stream, start + length)}
                entries[parts.get(1, b"").decode()] = parts.get(2, b"").decode()
    if not has_graph:
        raise ValueError(f"{file}: got no graph; expected an ONNX model")
    return entries


def _fields(stream: BinaryIO, end: int) -> Iterator[tuple[int, int]]:
    """Number and length of each field up to `end`; the stream stands at its content."""
    while (place := stream.tell()) < end:
        key = _varint(stream, end)
        wire, length = key & 7, 0
        if wire == 0:
            _varint(stream, end)
        elif wire == 2:
            length = _varint(stream, end)
        elif wire in _FIXED:
            length = _FIXED[wire]
        else:
            raise ValueError(f"got wire type {wire} at byte {place}; expected a protobuf message")
        start = stream.tell()
        if start + length > end:
            raise ValueError(f"got a field of {length} bytes at byte {place}; expected {end} bytes in all")
        yield key >> 3, length
        stream.seek(start + length)


def _varint(stream: BinaryIO, end: int) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = stream.read(1)
        if not byte or stream.tell() > end:
            raise ValueError(f"got the end of the file inside a number; expected {end} bytes in all")
        value |= (byte[0] & 127) << shift
        if byte[0] < 128:
            return value
    raise ValueError("got a number of more than ten bytes; expected a protobuf message")
