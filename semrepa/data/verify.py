"""Is every record of a store whole, and what it is said to be? Damage is named, never a crash."""

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from safetensors import SafetensorError

from semrepa.data import rejects
from semrepa.data.manifest import read_rows
from semrepa.data.manifest_files import FOLDER
from semrepa.data.packed import PackedStore
from semrepa.data.records import Record, from_bytes, is_whole, measured, misplaced
from semrepa.data.store import BEGUN, LIMITS, PADDING, FeatureStore
from semrepa.files import UNFINISHED

LookAgain = Callable[[str, Record], str | None]
"""From a clip's id and record to what is wrong with it, such as another first frame than its video; raises a
NotComparedError when nobody can say."""

Layout = tuple[tuple[str, str, tuple[int, ...]], ...]

MAY_BE_NAN = "face_"
"""Features of this prefix are not a number on frames without a face."""
MAY_VARY = "prompt_embeds"
"""Its first axis follows the caption where text is trimmed."""
FAR = 8.0
"""Robust standard deviations from the median at which the statistics of latents are odd."""
FEWEST = 8
"""Records that a median needs to mean something."""


class NotComparedError(Exception):
    """A record cannot be compared with its source, such as when the video is gone; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What `verify` found."""

    checked: int
    """Records looked at."""
    damaged: dict[str, tuple[str, ...]]
    """What is wrong with which record: it cannot be trained on."""
    odd: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Records whose latents are far from the others'; worth a look, but whole."""
    foreign: tuple[str, ...] = ()
    """Files that do not belong where they lie, relative to the store; they are never read."""
    without_row: tuple[str, ...] = ()
    """Records that the manifest does not know; empty when there is no manifest. As for `old_row`, the command
    `manifest --complete` adds rows."""
    old_row: tuple[str, ...] = ()
    """Clips that were made again or left out since, by a process that was killed before it added a row."""
    without_record: tuple[str, ...] = ()
    """Clips that are done by the manifest, but have no record: run prepare again."""
    compared: int = 0
    """Records that were compared with what their videos give now."""
    not_compared: dict[str, str] = field(default_factory=dict)
    """Why records that were chosen for it could not be compared."""
    deleted: tuple[str, ...] = ()
    """Damaged records that were deleted, to be made again."""

    @property
    def is_sound(self) -> bool:
        """Whether every record that was looked at can be trained on, and none is missing."""
        return not (set(self.damaged) - set(self.deleted)) and not self.without_record


def verify(
    store: FeatureStore,
    *,
    sample: int | None = None,
    seed: int = 0,
    look_again: LookAgain | None = None,
    looks: int = 20,
    delete: bool = False,
) -> Report:
    """Check records: checksum, names, shapes, types, values.

    A record is damaged when its bytes are not those that were written, when it cannot be read or belongs
    elsewhere, when names, types or shapes differ from those of more than half of the records, or when a value
    is not finite. A row of the manifest with another checksum is no damage of the record: see `old_row`.

    Args:
        store: the store, packed or not.
        sample: records to look at, chosen by the seed; None: all.
        seed: fixes the choice.
        look_again: compares a record with its source; see `semrepa.data.decode_again`.
        looks: records, among those that are whole, on which `look_again` is called.
        delete: delete damaged records, so that prepare makes them again.

    Returns:
        What was found.

    Raises:
        ValueError: records of a packed store are to be deleted.
    """
    if delete and isinstance(store, PackedStore):
        raise ValueError(
            f"got packed store {store.folder} to delete from; expected single files; pack it anew"
        )
    chooser, everything = random.Random(seed), store.ids()
    ids = everything if sample is None else sorted(chooser.sample(everything, min(sample, len(everything))))
    rows = read_rows(store.folder, ("status", "checksum"))
    found = _Findings()
    for clip_id in ids:
        _check(store, clip_id, rows.get(clip_id), found)
    found.compare_layouts()
    if look_again is not None:
        whole = [clip_id for clip_id in ids if clip_id not in found.damaged]
        _look_again(store, chooser.sample(whole, min(looks, len(whole))), look_again, found)
    deleted = sorted(found.damaged) if delete else []
    for clip_id in deleted:
        store.path(clip_id).unlink(missing_ok=True)
    return _report(store, found, len(ids), set(everything), rows, deleted)


def _report(
    store: FeatureStore,
    found: "_Findings",
    checked: int,
    everything: set[str],
    rows: Mapping[str, Mapping[str, Any]],
    deleted: Sequence[str],
) -> Report:
    """Put together what was found in records with what the manifest and the folder say."""
    done = {clip_id for clip_id, row in rows.items() if row["status"] == "done"}
    gone = done - everything
    left_out = gone & set(store.rejects())
    return Report(
        checked=checked,
        damaged={clip_id: tuple(found.damaged[clip_id]) for clip_id in sorted(found.damaged)},
        odd=found.odd_statistics(),
        foreign=() if isinstance(store, PackedStore) else tuple(_foreign(store)),
        without_row=tuple(sorted(everything - done)) if rows else (),
        old_row=tuple(sorted(found.old_row | left_out)),
        without_record=tuple(sorted(gone - left_out)),
        compared=found.compared,
        not_compared=dict(sorted(found.not_compared.items())),
        deleted=tuple(deleted),
    )


class _Findings:
    """What is known about the records so far."""

    def __init__(self) -> None:
        self.damaged: dict[str, list[str]] = {}
        self.layouts: dict[str, Layout] = {}
        self.statistics: dict[str, dict[str, float]] = {}
        self.old_row: set[str] = set()
        self.compared = 0
        self.not_compared: dict[str, str] = {}

    def damage(self, clip_id: str, problem: str) -> None:
        self.damaged.setdefault(clip_id, []).append(problem)

    def compare_layouts(self) -> None:
        """Records that are laid out differently from most are damaged."""
        ((usual, count),) = Counter(self.layouts.values()).most_common(1) or [((), 0)]
        if 2 * count <= len(self.layouts):
            return
        for clip_id, layout in self.layouts.items():
            for name, kind, shape in set(layout) - set(usual):
                like = next((f"{k} {s}" for n, k, s in usual if n == name), "no such feature")
                self.damage(clip_id, f"{name} is {kind} {shape}; most records have {like}")
            for name in {n for n, _, _ in usual} - {n for n, _, _ in layout}:
                self.damage(clip_id, f"{name} is missing")

    def odd_statistics(self) -> dict[str, tuple[str, ...]]:
        """Whole records whose latents have a mean or spread far from the others'."""
        whole = {key: value for key, value in self.statistics.items() if key not in self.damaged}
        odd: dict[str, list[str]] = {}
        for name in sorted({name for values in whole.values() for name in values}):
            known = {clip_id: values[name] for clip_id, values in whole.items() if name in values}
            if len(known) < FEWEST:
                continue
            numbers = torch.tensor(list(known.values()), dtype=torch.float64)
            median = numbers.median()
            width = max(1.4826 * (numbers - median).abs().median().item(), 1e-3)
            for clip_id, value in known.items():
                if abs(value - median.item()) > FAR * width:
                    odd.setdefault(clip_id, []).append(f"{name} {value:.3f}; median {median:.3f}")
        return {clip_id: tuple(problems) for clip_id, problems in sorted(odd.items())}


def _check(store: FeatureStore, clip_id: str, row: Mapping[str, Any] | None, found: _Findings) -> None:
    """Look at one record by itself."""
    try:
        data = store.read_bytes(clip_id)
        record, origin = from_bytes(data)
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
        found.damage(clip_id, f"cannot be read: {error}")
        return
    checksum = measured(data).checksum
    if problem := misplaced(origin, clip_id, store.fingerprint):
        found.damage(clip_id, f"it {problem}")
    elif not is_whole(data) or (isinstance(store, PackedStore) and checksum != store.places[clip_id].sha256):
        found.damage(clip_id, "its checksum is not the one that was noted when it was made")
    elif row and row["status"] == "done" and row["checksum"] not in (None, checksum):
        found.old_row.add(clip_id)
    found.layouts[clip_id] = tuple(
        sorted((name, str(value.dtype), _usual_shape(name, value)) for name, value in record.items())
    )
    for name, bad in _not_finite(record).items():
        said = f"{name} has {int(bad.sum())} of {bad.numel()} values that are not finite"
        found.damage(clip_id, said)
    statistics = found.statistics.setdefault(clip_id, {})
    for name in ("latents", "depth_latents"):
        if name in record and record[name].numel() > 1:
            values = record[name].float()
            statistics |= {f"mean of {name}": values.mean().item(), f"spread of {name}": values.std().item()}


def _not_finite(record: Record) -> Record:
    """Where values are not finite that must be, by name; frames without a face have none to measure."""
    found: Record = {}
    for name, value in record.items():
        if not value.is_floating_point():
            continue
        bad, mask = ~value.isfinite(), record.get("face_mask")
        if name.startswith(MAY_BE_NAN) and mask is not None and len(mask) == len(value):
            bad[~mask] &= ~value[~mask].isnan()
        if bad.any():
            found[name] = bad
    return found


def _usual_shape(name: str, value: torch.Tensor) -> tuple[int, ...]:
    """Shape as it is compared between records; an axis that may vary counts as 0."""
    return (0, *value.shape[1:]) if name == MAY_VARY else tuple(value.shape)


def _look_again(store: FeatureStore, ids: Sequence[str], look_again: LookAgain, found: _Findings) -> None:
    for clip_id in ids:
        try:
            problem = look_again(clip_id, store.read(clip_id))
        except NotComparedError as error:
            found.not_compared[clip_id] = str(error)
            continue
        found.compared += 1
        if problem:
            found.damage(clip_id, problem)


def _foreign(store: FeatureStore) -> Iterator[str]:
    """Files and folders that this kit does not put into a store."""
    own = {path.relative_to(store.folder) for path in map(store.path, store.ids())}
    kept = {"fingerprint.json", PADDING, LIMITS, rejects.TOGETHER, rejects.FOLDER, FOLDER, BEGUN, UNFINISHED}
    for path in sorted(store.folder.rglob("*")):
        below = path.relative_to(store.folder)
        is_report = below.match("report*.json") and len(below.parts) == 1
        if below.parts[0] not in kept and not is_report and below not in own and not path.is_dir():
            yield below.as_posix()


def as_json(report: Report) -> str:
    """A report as indented JSON."""
    return json.dumps({**vars(report), "is_sound": report.is_sound}, indent=2, ensure_ascii=False)
