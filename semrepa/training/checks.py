"""What has to fit before a run starts: aligners, feature store and transformer."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from diffusers import CogVideoXTransformer3DModel

from semrepa.config import Config
from semrepa.data.store import FeatureStore, fingerprint_hash
from semrepa.shapes import num_latent_frames
from semrepa.training.alignment import Aligners, check_available, wanted_losses

logger = logging.getLogger(__name__)

CHANNELS = 16
"""Latent channels of CogVideoX's VAE."""
EXACT = "exact"
"""Depth teacher of the sample world, as the fingerprint of a store names it; its version follows."""


def check_aligners(cfg: Config, aligners: Aligners) -> None:
    """Refuse aligners that are missing, or that were trained for something else than the run says.

    Args:
        cfg: settings of the run.
        aligners: loaded aligners.

    Raises:
        ValueError: names the setting, what the aligner was trained with, and what to do.
    """
    check_available(wanted_losses(cfg.loss), aligners, cfg.structure)
    pairs = []
    if aligners.structure:
        trained = aligners.structure.config
        pairs.append(("structure.input", cfg.structure.input, trained.structure_input))
        pairs.append(("depth.colormap", cfg.depth.colormap, trained.colormap))
    if aligners.identity:
        pairs.append(("identity.use_depth", cfg.identity.use_depth, aligners.identity.config.use_depth))
    for name, wanted, got in pairs:
        if wanted != got:
            raise ValueError(
                f"{name}: got {wanted!r} with an aligner trained with {got!r}; expected the same; "
                f"set {name} to {got!r}, or pretrain an aligner with {wanted!r} and name its folder"
            )


def teachers_of(made_from: Mapping[str, Any]) -> dict[str, str | None]:
    """Say which teachers the targets of a store come from, for the record of an aligner.

    The exact depth of the sample world is one teacher, whichever version of the world has drawn the clips.

    Args:
        made_from: fingerprint of the store.

    Returns:
        `colormap`, and digits that stand for `depth_teacher` and `face_teacher`; None: not known.
    """
    depth, face = made_from.get("depth"), made_from.get("face")
    if depth and depth[0] == EXACT:
        depth = depth[:1]
    return {
        "colormap": made_from.get("colormap"),
        "depth_teacher": fingerprint_hash({"depth": depth}) if depth else None,
        "face_teacher": fingerprint_hash({"face": face[0]}) if face else None,
    }


def record_teachers(aligner: Any, made_from: Mapping[str, Any]) -> None:
    """Write into the settings of an aligner which teachers it learns from.

    Args:
        aligner: structure or identity aligner; changed in place.
        made_from: fingerprint of the store it is trained on.
    """
    known = {name: value for name, value in teachers_of(made_from).items() if name in _teachers(aligner)}
    aligner.register_to_config(**{name: value for name, value in known.items() if value is not None})


def check_colormap(cfg: Config, store: FeatureStore) -> None:
    """Refuse a store whose depth has other colours than the run says.

    Args:
        cfg: settings of the run.
        store: prepared features.

    Raises:
        ValueError: names both.
    """
    kept = store.fingerprint.get("colormap", cfg.depth.colormap)
    if kept != cfg.depth.colormap:
        raise ValueError(
            f"depth.colormap: got {cfg.depth.colormap!r} with the store {store.folder}, whose depth "
            f"is painted in {kept!r}; expected the same; set depth.colormap to {kept!r}, or prepare another "
            "store"
        )


def check_teachers(store: FeatureStore, aligners: Aligners) -> None:
    """Refuse a store whose targets come from other teachers than those the aligners learned from.

    Args:
        store: prepared features.
        aligners: loaded aligners; what one has no record of is accepted with a warning.

    Raises:
        ValueError: names the aligner and what differs.
    """
    kept = teachers_of(store.fingerprint)
    for role, aligner in vars(aligners).items():
        learned = _teachers(aligner) if aligner is not None else {}
        for name, value in learned.items():
            if value is not None and kept[name] is not None and value != kept[name]:
                raise ValueError(
                    f"{role} aligner: got {name} {value!r} in its settings and {kept[name]!r} in the store "
                    f"{store.folder}; expected the same, since its answers mean nothing else; prepare the "
                    "store with the teachers of the aligner, or pretrain an aligner on this store"
                )
        unknown = [name for name, value in learned.items() if value is None and kept[name] is not None]
        if unknown:
            logger.warning(
                "the %s aligner has no record of its %s: taken to fit the store", role, " and ".join(unknown)
            )


def _teachers(aligner: Any) -> dict[str, str | None]:
    """What an aligner's settings say of the teachers it learned from; depth only where it reads depth."""
    names = ["colormap", "depth_teacher"] if aligner.config.get("use_depth", True) else []
    names += ["face_teacher"] if "face_teacher" in aligner.config else []
    return {name: aligner.config[name] for name in names}


def check_record(
    cfg: Config,
    store: FeatureStore,
    ids: Sequence[str],
    *,
    transformer: CogVideoXTransformer3DModel | None = None,
    aligners: Aligners | None = None,
) -> None:
    """Refuse a store whose records have other shapes than the networks of the run expect.

    Args:
        cfg: size of the videos.
        store: prepared features, all of one shape.
        ids: clips of the run; the first one is looked at.
        transformer: what is trained; None: an aligner.
        aligners: the frozen aligners of a fine-tuning.

    Raises:
        ValueError: names what has another shape, and what to do.
    """
    record, video = store.read(ids[0]), cfg.video
    latents = (num_latent_frames(video.num_frames), CHANNELS, video.height // 8, video.width // 8)
    expected: dict[str, tuple[int, ...]] = {
        "latents": latents,
        "depth_latents": latents,
        "first_frame": (3, video.height, video.width),
        "face_mask": (video.num_frames,),
    }
    if transformer is not None:
        given: Mapping[str, Any] = transformer.config
        expected["prompt_embeds"] = (given["max_text_seq_length"], given["text_embed_dim"])
    if aligners is not None and aligners.identity is not None:
        expected["id_embeds"] = (video.num_frames, aligners.identity.config.embed_dim)
    for name, shape in expected.items():
        got = tuple(record[name].shape)
        if got != shape:
            raise ValueError(
                f"{name} of {ids[0]} in {store.folder}: got {'x'.join(map(str, got))}; expected "
                f"{'x'.join(map(str, shape))} for videos of {video.num_frames}x{video.height}x{video.width} "
                "and these networks; prepare the store with this config (VAE tiling changes the size of "
                "small latents), or set video, model.weights and the aligners to what the store was made for"
            )
