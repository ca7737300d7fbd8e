"""Rows of the manifest that were never written, since a process was killed between a record and its row."""

import logging
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from semrepa.data.manifest import ManifestWriter, describe, read_rows
from semrepa.data.rejects import Reject
from semrepa.data.store import FeatureStore

log = logging.getLogger(__name__)


def complete(store: FeatureStore, writer: ManifestWriter, among: Collection[str] | None = None) -> list[str]:
    """Add rows for records and rejects that have none, such as after a kill between a record and its row.

    Args:
        store: the store.
        writer: of its manifest.
        among: only these clips, such as those that fall to this process; None: all.

    Returns:
        Names of the clips that got a row. It holds what the record or reject tells; the rest stays empty.
    """
    rows = read_rows(store.folder, ("status", "reject_reason", "checksum", "written"))
    added = []
    for clip_id in _of(among, store.ids()):
        try:
            if not has_row(store, clip_id, rows.get(clip_id)):
                facts = asdict(store.measure(clip_id)) | describe(store.read(clip_id))
                writer.append({"clip_id": clip_id, "status": "done", **facts})
                added.append(clip_id)
        except (ValueError, KeyError) as error:  # damaged, or gone meanwhile
            log.warning("no row for %s: %s", clip_id, error)
    rejects = store.rejects()
    for clip_id in _of(among, rejects):
        reject = rejects[clip_id]
        if not tells_of_reject(reject, rows.get(clip_id)):
            found = {"status": "rejected", "reject_reason": reject.reason, "message": reject.message}
            writer.append({"clip_id": clip_id, **found})
            added.append(clip_id)
    return added


def _of(among: Collection[str] | None, clips: Iterable[str]) -> list[str]:
    return [clip_id for clip_id in clips if among is None or clip_id in among]


def has_row(store: FeatureStore, clip_id: str, row: Mapping[str, Any] | None) -> bool:
    """Whether a row is about the record that is there, and not about one that was replaced.

    Args:
        store: the store.
        clip_id: a clip with a record.
        row: the newest row of the clip with `status`, `checksum` and `written`; None: there is none.

    Returns:
        True when nothing is to be added.

    Raises:
        ValueError: the record has changed since the row was written, and is not whole.
    """
    if row is None or row["status"] != "done":
        return False
    if row["checksum"] is None or store.path(clip_id).stat().st_mtime_ns <= row["written"]:
        return True
    return store.measure(clip_id).checksum == row["checksum"]


def tells_of_reject(reject: Reject, row: Mapping[str, Any] | None) -> bool:
    """Whether the newest row of a clip without a record says why it was left out, or that it was tried since.

    Args:
        reject: the newest reject of the clip.
        row: the newest row with `status` and `reject_reason`; None: there is none.

    Returns:
        True when nothing is to be added.
    """
    if row is None or row["status"] == "done":
        return False
    return row["status"] == "failed" or row["reject_reason"] == reject.reason
