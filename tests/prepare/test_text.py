"""Text features: what encodes the captions is gone before any other network is loaded."""

import weakref

import pytest

from semrepa.prepare import text
from semrepa.prepare.stores import open_store
from tests.prepare.room import Room


def test_the_text_encoder_is_freed_once_the_captions_are_encoded(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, seen = text.load_base, []

    def watched(*args):
        parts = load(*args)
        seen.append(weakref.ref(parts.text_encoder))
        return parts

    monkeypatch.setattr(text, "load_base", watched)
    store = open_store(room.cfg, room.cache)
    read = text.encode_captions(room.cfg, store, ["nobody has said this before"], room.cache)
    assert len(seen) == 1
    assert seen[0]() is None
    assert len(read("nobody has said this before"))
