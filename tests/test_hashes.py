"""Hashes of weights: right, and not computed twice."""

import hashlib
import json
import os
import shutil

import pytest

from semrepa import hashes
from semrepa.hashes import cache_folder, sha256_of


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache folder of its own, in which hashes of the smallest files are remembered."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(hashes, "REMEMBERED_FROM", 1)
    return tmp_path / "cache" / "semrepa"


@pytest.fixture
def read(monkeypatch):
    """Files that were really read."""
    digest, files = hashes._digest, []
    monkeypatch.setattr(hashes, "_digest", lambda path: files.append(path.name) or digest(path))
    return files


def plain(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_folder_hash_sees_names_and_content_not_order(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name / "deep").mkdir(parents=True)
    for folder, order in (("one", "ab"), ("two", "ba")):
        for file in order:
            (tmp_path / folder / "deep" / file).write_text(file)
    same = sha256_of(tmp_path / "one")
    assert sha256_of(tmp_path / "two") == same
    assert same == plain(f"{plain(b'a')}  deep/a\n{plain(b'b')}  deep/b\n".encode())
    (tmp_path / "two" / "deep" / "a").rename(tmp_path / "two" / "deep" / "c")
    assert sha256_of(tmp_path / "two") != same
    with pytest.raises(FileNotFoundError, match="hash: got"):
        sha256_of(tmp_path / "three")


def test_blobs_of_a_hub_cache_are_named_by_their_hash(tmp_path, read):
    blobs, snapshot = tmp_path / "models--a--b" / "blobs", tmp_path / "models--a--b" / "snapshots" / "c"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for name, blob in {"big": plain(b"big"), "small": "0123456789abcdef" * 2 + "01234567"}.items():
        (blobs / blob).write_text(name)
        (snapshot / name).symlink_to(blobs / blob)
    assert sha256_of(snapshot / "big") == plain(b"big")
    assert read == []
    assert sha256_of(snapshot / "small") == plain(b"small"), "a git hash is no SHA-256"
    expected = plain(f"{plain(b'big')}  big\n{plain(b'small')}  small\n".encode())
    assert sha256_of(snapshot) == expected
    (blobs / plain(b"big")).write_text("BIG")
    assert sha256_of(snapshot / "big") == plain(b"big")
    assert sha256_of(snapshot / "big", trust_names=False) == plain(b"BIG")
    assert sha256_of(snapshot, trust_names=False) != expected


def test_other_links_are_read(tmp_path):
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / ("a" * 64)).write_text("x")
    (tmp_path / "link").symlink_to(tmp_path / "blobs" / ("a" * 64))
    assert sha256_of(tmp_path / "link") == plain(b"x")


def test_hash_of_a_big_file_is_remembered_until_it_changes(tmp_path, cache, read):
    file = tmp_path / "weights.pth"
    file.write_text("one")
    assert sha256_of(file) == sha256_of(file) == plain(b"one")
    assert read == ["weights.pth"]
    times = file.stat()
    file.write_text("two")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert sha256_of(file) == plain(b"two"), "same size, same modification time"
    assert sha256_of(file) == plain(b"two")
    assert read == ["weights.pth", "weights.pth"]
    other = tmp_path / "other.pth"
    shutil.copy(file, other)
    sha256_of(other)
    assert len(json.loads((cache / "sha256.json").read_text())) == 2


def test_small_files_leave_no_trace(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(hashes, "REMEMBERED_FROM", 4)
    (tmp_path / "small").write_text("abc")
    assert sha256_of(tmp_path / "small") == plain(b"abc")
    assert not cache.exists()


@pytest.mark.parametrize("text", ["", "{broken", "[]", '{"/some/file": 5}'])
def test_broken_memory_is_no_obstacle(tmp_path, cache, text):
    cache.mkdir(parents=True)
    (cache / "sha256.json").write_text(text)
    (tmp_path / "file").write_text("abc")
    assert sha256_of(tmp_path / "file") == sha256_of(tmp_path / "file") == plain(b"abc")


def test_cache_that_cannot_be_written_is_no_obstacle(tmp_path, cache):
    cache.parent.write_text("a file where the folder should be")
    (tmp_path / "file").write_text("abc")
    assert sha256_of(tmp_path / "file") == plain(b"abc")


def test_nobody_without_a_home_fails(tmp_path, cache, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME")

    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(hashes.Path, "home", no_home)
    assert cache_folder() is None
    (tmp_path / "file").write_text("abc")
    assert sha256_of(tmp_path / "file") == plain(b"abc")


def test_cache_folder_follows_the_platform(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    expected = {"linux": ".cache", "darwin": "Library/Caches", "win32": "local"}
    for platform, folder in expected.items():
        monkeypatch.setattr(hashes.sys, "platform", platform)
        assert cache_folder() == tmp_path / folder / "semrepa"
