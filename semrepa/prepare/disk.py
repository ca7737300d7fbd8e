"""Room on the disk, looked at before a run begins."""

import json
import shutil
from pathlib import Path
from typing import Any

from semrepa.config import Config
from semrepa.data.manifest import read_manifest
from semrepa.data.store import FeatureStore
from semrepa.prepare.limits import StoppedError
from semrepa.weights import check_weights


def check_disk(cfg: Config, store: FeatureStore, clips: int, captions: int, cache_dir: Path) -> None:
    """Look whether there is room for the records and text features of clips.

    Args:
        cfg: resolved config.
        store: the store that is to be filled.
        clips: how many records are to come.
        captions: how many captions are to be encoded.
        cache_dir: where text features are kept.

    Raises:
        StoppedError: a disk has too little room.
    """
    record, text = record_bytes(cfg, store), text_bytes(cfg)
    cache_dir.mkdir(parents=True, exist_ok=True)
    wanted = {store.folder: clips * record, cache_dir: captions * text}
    if store.folder.stat().st_dev == cache_dir.stat().st_dev:
        wanted = {store.folder: sum(wanted.values())}
    for folder, needed in wanted.items():
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise StoppedError(
                f"got {_gigabytes(free)} of free disk at {folder}; expected {_gigabytes(needed)}: {clips} "
                f"clips of {record / 1e6:.3g} MB and {captions} new captions of {text / 1e6:.3g} MB; "
                "free some, or give data.store and --cache on a larger disk, or a shorter index"
            )


def record_bytes(cfg: Config, store: FeatureStore) -> int:
    """Size of a record.

    Args:
        cfg: resolved config.
        store: its records so far tell; if there is none, the shapes do.

    Returns:
        Bytes.
    """
    known = [size for size in read_manifest(store.folder)["bytes"].to_pylist() if size]
    if known:
        return sum(known) // len(known)
    video, channels = cfg.video, _transformer(cfg)["out_channels"]
    latent = (video.num_frames // 4 + 1) * channels * (video.height // 8) * (video.width // 8)
    return 2 * 2 * latent + 3 * video.height * video.width + 1100 * video.num_frames + text_bytes(cfg) + 4096


def text_bytes(cfg: Config) -> int:
    """Size of a caption's features.

    Args:
        cfg: resolved config.

    Returns:
        Bytes.
    """
    sizes = _transformer(cfg)
    return 2 * sizes["max_text_seq_length"] * sizes["text_embed_dim"]


def _transformer(cfg: Config) -> dict[str, Any]:
    """What the base model says of its sizes."""
    (model,) = check_weights(cfg, ("model",))
    return json.loads((Path(model.source) / "transformer" / "config.json").read_text(encoding="utf-8"))


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.3g} GB"
