"""The face teacher: insightface's FaceAnalysis, per frame, then one person followed through the clip."""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from insightface.app import FaceAnalysis
from jaxtyping import UInt8
from torch import Tensor

from semrepa.provenance import Provenance, sha256_of
from semrepa.teachers import FaceTrack
from semrepa.teachers.align import aligned_crop
from semrepa.teachers.pack import EMBED_DIM, KIND_KEY, find_pack
from semrepa.teachers.track import Faces, follow

log = logging.getLogger(__name__)

ENLARGE = 3.0
"""Small frames are enlarged at most this much before detection; measured on 128 x 192 frames of the world."""
STRIDE = 32
"""The detector's coarsest stride: canvas sides must be multiples of it."""
BATCH = 32
"""Most crops per call of the recogniser."""


class InsightFaceTeacher:
    """Face detection, alignment and ArcFace embeddings by insightface on a local model pack."""

    def __init__(
        self,
        pack: Path | str,
        *,
        detector_size: tuple[int, int] = (640, 640),
        min_score: float = 0.5,
        min_size: float = 0.0,
        providers: Sequence[str] | None = None,
    ) -> None:
        """Load a pack. Nothing is ever downloaded.

        Args:
            pack: folder with the two ONNX files (see `semrepa.teachers.pack.EXPECTED`).
            detector_size: width and height of the detector's canvas in pixels, multiples of 32.
            min_score: least detection score in (0, 1).
            min_size: least shorter side of a face box, pixels of the given frames.
            providers: ONNX Runtime execution providers in order of preference; None lets insightface choose.

        Raises:
            FileNotFoundError: If the folder or one of its models is missing.
            ValueError: If a model has the wrong format, a size is no multiple of 32, the score is out of
                range, or a provider is not installed.
        """
        check_settings(detector_size, min_score, providers)
        folder = find_pack(Path(pack))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self.app = FaceAnalysis(
            str(folder),
            allowed_modules=["detection", "recognition"],
            sess_options=options,
            providers=None if providers is None else list(providers),
        )
        self.app.prepare(ctx_id=0, det_thresh=min_score, det_size=detector_size)
        self.detector, self.recogniser = (self.app.models[task] for task in ("detection", "recognition"))
        self.detector_size = detector_size
        self.min_size = min_size
        self.provenance = provenance(self.app)
        active = ", ".join(self.recogniser.session.get_providers())
        log.info("face pack %s (sha256 %s) runs on %s", folder, self.provenance.sha256, active)

    def __call__(self, frames: UInt8[Tensor, "n 3 H W"]) -> FaceTrack:
        """Follow one person's face through a clip.

        Args:
            frames: (n, 3, H, W) uint8 RGB, 0 to 255.

        Returns:
            The track of the person whose face is largest in the first frame that shows a face.

        Raises:
            TypeError: If the frames are not a uint8 tensor.
            ValueError: If the shape is wrong.
        """
        faces = self.find(frames)
        return as_track(faces, follow(faces))

    def find(self, frames: UInt8[Tensor, "n 3 H W"]) -> list[Faces]:
        """Find and embed every face of every frame.

        Args:
            frames: (n, 3, H, W) uint8 RGB, 0 to 255.

        Returns:
            For each frame its faces, best score first.

        Raises:
            TypeError: If the frames are not a uint8 tensor.
            ValueError: If the shape is wrong.
        """
        check_frames(frames)
        images = np.ascontiguousarray(
            frames.permute(0, 2, 3, 1).numpy(force=True)[..., ::-1]
        )  # insightface wants BGR
        canvas = canvas_size(images.shape[1], images.shape[2], self.detector_size)
        found = [self._detect(image, canvas) for image in images]
        crops = [
            aligned_crop(image, p)
            for image, (_, points, _) in zip(images, found, strict=True)
            for p in points
        ]
        counts = [len(scores) for _, _, scores in found]
        embeds = np.split(self.embed(crops), np.cumsum(counts)[:-1])
        return [Faces(*one, embeds=e) for one, e in zip(found, embeds, strict=True)]

    def embed(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Embed aligned faces.

        Args:
            crops: (112, 112, 3) uint8 each, BGR.

        Returns:
            (k, 512) float32, L2-normalised.

        Raises:
            ValueError: If the recogniser takes only batches of a fixed size above 1.
        """
        fixed = self.recogniser.session.get_inputs()[0].shape[0]
        step = fixed if isinstance(fixed, int) else BATCH
        if isinstance(fixed, int) and fixed > 1:
            raise ValueError(
                f"got a recogniser with a fixed batch of {fixed}; expected 1 or free; export it again"
            )
        parts = [self.recogniser.get_feat(list(crops[i : i + step])) for i in range(0, len(crops), step)]
        raw = np.concatenate(parts) if parts else np.zeros((0, EMBED_DIM), np.float32)
        return raw / np.maximum(np.linalg.norm(raw, axis=1, keepdims=True), 1e-9)

    def _detect(
        self, image: np.ndarray, canvas: tuple[int, int]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes (k, 4), key points (k, 5, 2) and scores (k,) of one BGR picture."""
        found, points = self.detector.detect(image, input_size=canvas)
        boxes, scores = found[:, :4], found[:, 4]
        keep = (boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf) >= self.min_size
        return boxes[keep], points[keep], scores[keep]


def canvas_size(height: int, width: int, detector_size: tuple[int, int]) -> tuple[int, int]:
    """The detector's canvas: the frame scaled to fit the size asked for, without further padding.

    Args:
        height: of the frames, pixels.
        width: of the frames, pixels.
        detector_size: width and height asked for; small frames, which gain nothing beyond `ENLARGE`, get
            less.

    Returns:
        Width and height, multiples of 32. insightface scales the frame to fit.
    """
    scale = min(ENLARGE, detector_size[0] / width, detector_size[1] / height)
    wide, high = (STRIDE * int(np.ceil(round(side * scale / STRIDE, 6))) for side in (width, height))
    return wide, high


def as_track(faces: Sequence[Faces], chosen: Sequence[int | None]) -> FaceTrack:
    """Keep the chosen face of each frame.

    Args:
        faces: all faces of each of the n frames.
        chosen: which one, or None.

    Returns:
        The track, with zeros, NaN and False where there is no face.
    """
    n = len(faces)
    embeds, mask, scores = np.zeros((n, EMBED_DIM), np.float32), np.zeros(n, bool), np.zeros(n, np.float32)
    boxes, points = np.full((n, 4), np.nan, np.float32), np.full((n, 5, 2), np.nan, np.float32)
    for k, (frame, index) in enumerate(zip(faces, chosen, strict=True)):
        if index is not None:
            embeds[k], mask[k], scores[k] = frame.embeds[index], True, frame.scores[index]
            boxes[k], points[k] = frame.boxes[index], frame.points[index]
    return FaceTrack(
        embeds=torch.from_numpy(embeds),
        mask=torch.from_numpy(mask),
        boxes=torch.from_numpy(boxes),
        points=torch.from_numpy(points),
        scores=torch.from_numpy(scores),
    )


def provenance(app: FaceAnalysis) -> Provenance:
    """Say which two files answer, whether they are real, and their common hash.

    Args:
        app: the loaded pack.

    Returns:
        The provenance; its kind is what the recogniser's own metadata says, "real" when it says nothing.
    """
    files = [Path(app.models[task].model_file) for task in ("detection", "recognition")]
    said = app.models["recognition"].session.get_modelmeta().custom_metadata_map
    digest = hashlib.sha256("".join(sha256_of(file) for file in files).encode()).hexdigest()
    name = "insightface " + " + ".join(file.name for file in files)
    return Provenance(name=name, source=str(files[0].parent), kind=said.get(KIND_KEY, "real"), sha256=digest)


def check_frames(frames: object) -> None:
    """Refuse frames that insightface would silently misread.

    Args:
        frames: what the caller gave.

    Raises:
        TypeError: If it is not a uint8 tensor.
        ValueError: If it is not (n, 3, H, W) with n >= 1.
    """
    if not isinstance(frames, Tensor) or frames.dtype != torch.uint8:
        got = frames.dtype if isinstance(frames, Tensor) else type(frames).__name__
        expected = "expected a torch.uint8 tensor, RGB 0 to 255; use models.latents.to_frames"
        raise TypeError(f"got frames of type {got}; {expected}")
    if frames.ndim != 4 or frames.shape[1] != 3 or not len(frames):
        raise ValueError(
            f"got frames of shape {tuple(frames.shape)}; expected (n, 3, H, W) of one clip; pass frames[0]"
        )


def check_settings(detector_size: tuple[int, int], min_score: float, providers: Sequence[str] | None) -> None:
    """Check what the user chose.

    Args:
        detector_size: width, height.
        min_score: least detection score.
        providers: execution providers, or None.

    Raises:
        ValueError: If one of them cannot work.
    """
    if len(detector_size) != 2 or any(side <= 0 or side % STRIDE for side in detector_size):
        raise ValueError(
            f"detector_size: got {detector_size}; expected (width, height), multiples of 32; use (640, 640)"
        )
    if not 0 < min_score < 1:
        raise ValueError(f"min_score: got {min_score}; expected a number between 0 and 1; use 0.5")
    available = onnxruntime.get_available_providers()
    unknown = [name for name in providers or () if name not in available]
    if unknown:
        raise ValueError(
            f"providers: got {unknown}; expected some of {available}; "
            f"for CUDA install onnxruntime-gpu instead of onnxruntime"
        )
