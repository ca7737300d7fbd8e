"""Records against their videos: the first frame that the reader gives now is the stored one, bit for bit."""

from pathlib import Path
from typing import Any

import torch

from semrepa.data.manifest import read_rows
from semrepa.data.records import Record
from semrepa.data.store import FeatureStore
from semrepa.data.verify import LookAgain, NotComparedError
from semrepa.data.video import ClipError, VideoClip, read_clip, reader_versions

COLUMNS = ("path", "start", "size", "backend")
"""What the manifest must say of a clip."""


def decode_again(store: FeatureStore) -> LookAgain:
    """Prepare to read the videos of a store's clips once more.

    Args:
        store: a store that `prepare` has filled, packed or not; its manifest says where the videos are.

    Returns:
        What `verify` takes as `look_again`.

    Raises:
        ValueError: the store does not say how its videos were read, or other versions of the readers have
            read them, whose pixels differ in the last bits; shows both.
    """
    missing = {"video", "readers"} - set(store.fingerprint)
    if missing:
        raise ValueError(
            f"got {store.folder}, whose fingerprint lacks {' and '.join(sorted(missing))}; expected a store "
            f"that prepare has made; verify it without --decode"
        )
    made_by, here = store.fingerprint["readers"], reader_versions()
    if made_by != here:
        raise ValueError(
            f"got readers {here} here and {made_by} in {store.folder}; expected the same, since others "
            f"differ in the last bits of pixels; install those of the store, or verify it without --decode"
        )
    rows = read_rows(store.folder, COLUMNS)

    def look_again(clip_id: str, record: Record) -> str | None:
        clip = _read(rows.get(clip_id, {}), store.fingerprint["video"])
        return _difference(record, clip)

    return look_again


def _read(row: dict[str, Any], video: dict[str, Any]) -> VideoClip:
    """Read a clip as the manifest says it was read; a NotComparedError when that cannot be."""
    if row.get("path") is None or row.get("start") is None:
        raise NotComparedError("the manifest does not say where its video is; it was added by --complete")
    path = Path(row["path"])
    if not path.is_file():
        raise NotComparedError(f"got no video {path}; expected it where prepare was run, at the same place")
    if (size := path.stat().st_size) != row["size"]:
        raise NotComparedError(
            f"got {path} of {size} bytes; expected {row['size']} as when the record was made; run prepare, "
            f"which makes the records of changed clips again"
        )
    shape = {
        "num_frames": video["num_frames"],
        "fps": video["fps"],
        "size": (video["height"], video["width"]),
    }
    try:
        clip = read_clip(path, start=row["start"], pad_last=True, **shape)
    except ClipError as error:
        raise NotComparedError(str(error)) from error
    if clip.backend != row["backend"]:
        raise NotComparedError(
            f"got frames of {path} from {clip.backend}; expected {row['backend']}, which read them then"
        )
    return clip


def _difference(record: Record, clip: VideoClip) -> str | None:
    """What is not as the reader gives it now."""
    first = record["first_frame"]
    if first.shape != clip.frames[0].shape:
        return f"first_frame is {tuple(first.shape)}; its video gives {tuple(clip.frames[0].shape)}"
    apart = (first.short() - clip.frames[0].short()).abs()
    if apart.any():
        count = int(apart.count_nonzero())
        return (
            f"first_frame differs from its video in {count} of {apart.numel()} values, by {int(apart.max())}"
        )
    if not torch.equal(record["timestamps"], torch.tensor(clip.timestamps)):
        return "timestamps differ from those of its video"
    if record["content"].tolist() != list(clip.content):
        return f"content is {record['content'].tolist()}; its video gives {list(clip.content)}"
    return None
