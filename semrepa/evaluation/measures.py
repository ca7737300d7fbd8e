"""What is measured of one video against its true clip: each measure looks at both and gives numbers by name.

What a measure finds out about a true clip it keeps, so that scoring a second model costs only the model's
side. All leave the padding and frame 0, which is given, out.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from diffusers import AutoencoderKLCogVideoX
from jaxtyping import Float, UInt8
from torch import Tensor

from semrepa.data.index import ClipRow
from semrepa.data.sampling import Box
from semrepa.depth import Colormap, decolorize, normalize
from semrepa.metrics import depth as depth_metrics
from semrepa.metrics.body import KeyPointFinder, bone_length_variation
from semrepa.metrics.drift import Look, drift, look
from semrepa.metrics.identity import id_variants
from semrepa.metrics.image import clip_mean, flicker, inside, psnr, psnr_uint8_wrap, ssim
from semrepa.metrics.perceptual import PairNetwork, lpips
from semrepa.metrics.sharpness import BLOCK, cpbd
from semrepa.metrics.text import TextNetwork, text_score
from semrepa.models.latents import decode, encode
from semrepa.models.structure import StructureAligner
from semrepa.provenance import Kind
from semrepa.shapes import Depth, PerFrame
from semrepa.teachers import DepthTeacher, FaceTeacher, FaceTrack

T = TypeVar("T")
Values = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Take:
    """One video of a clip, made or true."""

    row: ClipRow
    """The clip."""
    frames: UInt8[Tensor, "1 n 3 H W"]
    """RGB, 0 to 255, at the size of the run."""
    content: Box
    """Top, left, height and width of the picture inside its padding, pixels."""

    @property
    def picture(self) -> UInt8[Tensor, "1 n 3 h w"]:
        """The frames without padding."""
        return inside(self.frames, self.content)

    def seen(self, every: int) -> UInt8[Tensor, "1 m 3 h w"]:
        """Frames for a network: without the given first one, without padding.

        Args:
            every: 1 for all of them, 2 for every second and so on.

        Returns:
            RGB, 0 to 255.
        """
        return self.picture[:, 1::every]


@runtime_checkable
class Measure(Protocol):
    """Gives numbers of one video."""

    kind: Kind | None
    """Kind of the weights that answer; None: no network does."""

    def __call__(self, made: Take, true: Take) -> Values:
        """Measure a video.

        Args:
            made: the video.
            true: the true video of the same clip, of the same shape.

        Returns:
            Numbers by name; NaN where the clip has none.
        """
        ...


@dataclass(frozen=True)
class Pixels:
    """PSNR and SSIM; beside them the paper's PSNR, whose squares wrap round, and SSIM's other variant."""

    kind: Kind | None = None

    def __call__(self, made: Take, true: Take) -> Values:
        """See `Measure`."""
        pair, content = (made.frames, true.frames), true.content
        return {
            "psnr": _mean(psnr(*pair, content=content)),
            "ssim": _mean(ssim(*pair, content=content)),
            "psnr_uint8_wrap": _mean(psnr_uint8_wrap(*pair, content=content)),
            "ssim_uniform": _mean(ssim(*pair, variant="uniform", content=content)),
        }


@dataclass
class Faces:
    """All ID scores, with the detection rate."""

    teacher: FaceTeacher
    prefix: str = ""
    """In front of the names: `second_` for a recogniser that no loss has seen."""
    known: dict[str, FaceTrack] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        """Kind of the face pack."""
        return self.teacher.provenance.kind

    def __call__(self, made: Take, true: Take) -> Values:
        """See `Measure`."""
        true_track = _kept(self.known, true.row.id, lambda: self._follow(true))
        track = true_track if made is true else self._follow(made)
        faces = [x[None] for t in (track, true_track) for x in (t.embeds, t.mask)]
        return {f"{self.prefix}{name}": float(score) for name, score in id_variants(*faces).items()}

    def _follow(self, take: Take) -> FaceTrack:
        return self.teacher(take.picture[0], take.content)


@dataclass
class AlignerDepth:
    """Depth that the structure aligner reads from a finished video, against the teacher's of the true one.

    An honest judge, but no independent one where the same aligner has supervised the model.
    """

    vae: AutoencoderKLCogVideoX
    aligner: StructureAligner
    teacher: DepthTeacher
    colormap: Colormap
    kind: Kind
    known: dict[str, Depth] = field(default_factory=dict)
    """Normalised disparity of the true clips: one float for each pixel of each."""

    def __call__(self, made: Take, true: Take) -> Values:
        """See `Measure`."""
        truth = _kept(self.known, true.row.id, lambda: self._truth(true))
        with torch.no_grad():
            device = next(self.aligner.parameters()).device
            seen = decode(self.vae, self.aligner(encode(self.vae, made.frames).to(device)))
        answer = decolorize(inside(seen, true.content), self.colormap)[0].cpu()
        return {"depth_error": float(depth_metrics.depth_mae(answer[:, 1:], truth[:, 1:]))}

    def _truth(self, true: Take) -> Depth:
        return normalize(self.teacher(true.row, true.picture), kind=self.teacher.kind).cpu()


@dataclass
class TeacherDepth:
    """Depth that the teacher sees in a video, against what it sees in the true one."""

    teacher: DepthTeacher
    known: dict[str, Depth] = field(default_factory=dict)
    """Its answers for the true clips: one float for each pixel of each."""

    @property
    def kind(self) -> Kind:
        """Kind of the teacher's weights."""
        return self.teacher.provenance.kind

    def __call__(self, made: Take, true: Take) -> Values:
        """See `Measure`."""
        truth = _kept(self.known, true.row.id, lambda: self.teacher(true.row, true.picture).cpu())
        answer = truth if made is true else self.teacher(made.row, made.picture).cpu()
        found = depth_metrics.consistency(answer, truth, kind=self.teacher.kind)
        return {f"depth_{name}": float(value) for name, value in found.items()}


@dataclass
class Sharpness:
    """CPBD, and its distance from the true video's; NaN for pictures smaller than one of its blocks."""

    kind: Kind | None = None
    known: dict[str, PerFrame] = field(default_factory=dict)

    def __call__(self, made: Take, true: Take) -> Values:
        """See `Measure`."""
        if min(true.content[2:]) < BLOCK:
            return {"cpbd": float("nan"), "cpbd_distance": float("nan")}
        truth = _kept(self.known, true.row.id, lambda: cpbd(true.frames, content=true.content))
        answer = truth if made is true else cpbd(made.frames, content=true.content)
        return {"cpbd": _mean(answer), "cpbd_distance": _mean((answer - truth).abs())}


@dataclass
class Steadiness:
    """Flicker and length of motion as multiples of the true video's: 1 is best."""

    kind: Kind | None = None
    known: dict[str, Look] = field(default_factory=dict)

    def __call__(self, made: Take, true: Take) -> Values:
        """See `Measure`."""
        mine, theirs = (float(flicker(take.frames, content=true.content)) for take in (made, true))
        change = drift(made.picture[0], _kept(self.known, true.row.id, lambda: look(true.picture[0])))
        return {
            "flicker_ratio": mine / theirs if theirs > 0 else float("nan"),
            "flow_ratio": change["flow"],
        }


@dataclass(frozen=True)
class Perceptual:
    """LPIPS."""

    network: PairNetwork
    name: str
    """Such as `lpips_alex`."""
    every: int = 1
    """It looks at every k-th frame."""

    @property
    def kind(self) -> Kind:
        """Kind of its weights."""
        return self.network.provenance.kind

    def __call__(self, made: Take, true: Take) -> Values:
        """See `Measure`."""
        mine, theirs = (take.seen(self.every) for take in (made, true))
        return {self.name: float(lpips(mine, theirs, self.network).mean())}


@dataclass(frozen=True)
class Text:
    """Cosine between frames and caption; `text_cut` is 1 where the end of the caption was not read."""

    network: TextNetwork
    every: int = 1
    """It looks at every k-th frame."""

    @property
    def kind(self) -> Kind:
        """Kind of its weights."""
        return self.network.provenance.kind

    def __call__(self, made: Take, true: Take) -> Values:
        """See `Measure`."""
        caption = true.row.caption
        if not caption.strip():
            return {"text": float("nan"), "text_cut": float("nan")}
        score = text_score(made.seen(self.every), [caption], self.network)
        return {"text": float(score.frames.mean()), "text_cut": float(score.truncated)}


@dataclass
class Body:
    """How much bones change their length, and that of the true video: limbs that twist do."""

    finder: KeyPointFinder
    known: dict[str, Float[Tensor, " bones"]] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        """Kind of the finder's weights."""
        return self.finder.provenance.kind

    def __call__(self, made: Take, true: Take) -> Values:
        """See `Measure`."""
        truth = _kept(self.known, true.row.id, lambda: self._variation(true))
        answer = truth if made is true else self._variation(made)
        return {
            "bone_length_variation": float(answer.nanmean()),
            "bone_length_excess": float((answer - truth).nanmean()),
        }

    def _variation(self, take: Take) -> Float[Tensor, " bones"]:
        points, seen = self.finder(take.picture[0])
        return bone_length_variation(points, self.finder.bones, seen=seen)


def _mean(per_frame: PerFrame) -> float:
    return float(clip_mean(per_frame))


def _kept(known: dict[str, Any], clip: str, make: Callable[[], T]) -> T:
    """What is known about a true clip; found out at first."""
    if clip not in known:
        known[clip] = make()
    return known[clip]
