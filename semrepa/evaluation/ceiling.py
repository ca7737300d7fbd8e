"""The true videos as the VAE shows them: no model that speaks through it can be expected to do better."""

from collections.abc import Iterator, Sequence

from diffusers import AutoencoderKLCogVideoX

from semrepa.config import Config
from semrepa.data.index import ClipRow
from semrepa.data.video import read_clip
from semrepa.generate import Generated
from semrepa.models.latents import decode, encode, to_frames


def through_vae(cfg: Config, rows: Sequence[ClipRow], vae: AutoencoderKLCogVideoX) -> Iterator[Generated]:
    """Encode the true videos and decode them again.

    Args:
        cfg: size of the clips, and the first seed, by which they are called.
        rows: clips.
        vae: frozen VAE.

    Yields:
        The videos, one at a time.

    Raises:
        ClipError: a true video cannot be read.
    """
    for row in rows:
        frames = read_clip(row.path, start=row.start, **cfg.video.shape).frames
        (seen,) = to_frames(decode(vae, encode(vae, frames[None]))).cpu()
        yield Generated(id=row.id, seed=cfg.generate.seeds[0], frames=seen, path=None)
