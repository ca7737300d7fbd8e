"""The face teacher: insightface's FaceAnalysis, per frame, then one person followed through the clip."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from insightface.app import FaceAnalysis
from jaxtyping import UInt8
from torch import Tensor

from semrepa.data.sampling import Box, ClipError, placed
from semrepa.provenance import Provenance
from semrepa.teachers import FaceTrack
from semrepa.teachers.align import CROP, aligned_crop
from semrepa.teachers.pack import EMBED_DIM, Pack, find_pack
from semrepa.teachers.providers import ORT_ERRORS, choose_providers, running_on, session_options
from semrepa.teachers.quality import cuts, sizes, yaws
from semrepa.teachers.track import Faces, areas, as_track, follow

log = logging.getLogger(__name__)

STRIDE = 32
"""The detector's coarsest stride: canvas sides must be multiples of it."""
BATCH = 32
"""Most crops per call of the recogniser."""
CROWD = 8
"""Most faces of one frame that are looked at, largest first; ours."""


class InsightFaceTeacher:
    """Face detection, alignment and ArcFace embeddings by insightface on a local model pack."""

    providers: tuple[str, ...]
    """Execution providers that both models really run on."""
    provenance: Provenance
    """Which two files answer, whether they are real, and their common hash."""

    def __init__(
        self,
        pack: Path | str,
        *,
        detector_size: tuple[int, int] = (640, 640),
        min_score: float = 0.5,
        min_size: float = 0.0,
        max_cut: float = 1.0,
        max_yaw: float = 10.0,
        providers: Sequence[str] | None = None,
    ) -> None:
        """Load a pack. Nothing is ever downloaded.

        Args:
            pack: folder with the two ONNX files (see `semrepa.teachers.pack.EXPECTED`).
            detector_size: width and height of the detector's canvas in pixels, multiples of 32. Frames are
                scaled to fit and padded with black, always to this size, as in the published pipelines.
            min_score: least detection score in (0, 1).
            min_size: least shorter side of a face box, pixels of the clip's frames.
            max_cut: largest share of the face outside the frame, 0 to 1.
            max_yaw: furthest turn of the head, eye distances (see `semrepa.teachers.quality.yaws`).
            providers: ONNX Runtime execution providers in order of preference; those that are not installed
                are left out with a warning; None lets insightface choose.

        Raises:
            FileNotFoundError: If the folder or one of its models is missing.
            ValueError: If a model has the wrong format, a setting is out of range, or none of the providers
                is installed.
        """
        check_settings(detector_size, min_score, max_cut, max_yaw)
        usable = choose_providers(providers)
        found = find_pack(Path(pack))
        self.app = load_app(found, usable)
        self.app.prepare(ctx_id=0, det_thresh=min_score, det_size=detector_size)
        self.detector, self.recogniser = (self.app.models[task] for task in ("detection", "recognition"))
        check_detector(found.detector, getattr(self.detector, "static_input_size", None), detector_size)
        self.min_size, self.max_cut, self.max_yaw = min_size, max_cut, max_yaw
        batch = self.recogniser.session.get_inputs()[0].shape[0]
        self._takes_batches = not isinstance(batch, int)
        self.providers = running_on(
            usable, *(model.session.get_providers() for model in (self.detector, self.recogniser))
        )
        self.provenance = found.provenance
        self.embed(2 * [np.zeros((CROP, CROP, 3), np.uint8)])  # fails here rather than in the middle of a run
        for file, digest in found.hashes.items():
            log.info("face pack: %s (sha256 %s) runs on %s", file, digest, ", ".join(self.providers))

    def __call__(self, frames: UInt8[Tensor, "n 3 H W"], content: Box | None = None) -> FaceTrack:
        """Follow one person's face through a clip.

        Args:
            frames: (n, 3, H, W) uint8 RGB, 0 to 255, without padding where `content` is given.
            content: top, left, height and width that they take in the clip's own frames, in whose pixels
                boxes, points and sizes are given, and `min_size` counts; None: in pixels of `frames`.

        Returns:
            The track of the person whose face is the largest good view in the first frame that shows one.
            Frames with a view that is too small, cut or turned are masked, but keep box, points and quality.

        Raises:
            TypeError: If the frames are not a uint8 tensor.
            ValueError: If the shape is wrong.
        """
        faces = self.find(frames, content)
        return as_track(faces, follow(faces))

    def find(self, frames: UInt8[Tensor, "n 3 H W"], content: Box | None = None) -> list[Faces]:
        """Find, judge and embed the faces of every frame, at most the `CROWD` largest of each.

        Args:
            frames: (n, 3, H, W) uint8 RGB, 0 to 255.
            content: as in a call.

        Returns:
            For each frame its faces, best score first.

        Raises:
            TypeError: If the frames are not a uint8 tensor.
            ValueError: If the shape is wrong.
        """
        check_frames(frames)
        size = frames.shape[2], frames.shape[3]
        found, crops = [], []
        for frame in frames:
            # insightface wants BGR; one frame at a time, since those of a source can be large
            image = np.ascontiguousarray(frame.permute(1, 2, 0).numpy(force=True)[..., ::-1])
            found.append(self._detect(image))
            crops += [aligned_crop(image, points) for points in found[-1][1]]
        counts = [len(scores) for _, _, scores in found]
        embeds = np.split(self.embed(crops), np.cumsum(counts)[:-1])
        whole = zip(found, embeds, strict=True)
        return [self._judge(boxes, points, scores, e, size, content) for (boxes, points, scores), e in whole]

    def embed(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """Embed aligned faces, in batches where the recogniser takes them.

        Args:
            crops: (112, 112, 3) uint8 each, BGR.

        Returns:
            (k, 512) float32, L2-normalised.

        Raises:
            ClipError: If the recogniser does not answer with 512 finite numbers for each face; it is a
                ValueError, its `reason` is "no_face_features".
        """
        parts = [self._features(list(crops[i : i + BATCH])) for i in range(0, len(crops), BATCH)]
        raw = np.concatenate(parts) if parts else np.zeros((0, EMBED_DIM), np.float32)
        if raw.shape != (len(crops), EMBED_DIM) or not np.isfinite(raw).all():
            raise ClipError(
                "no_face_features",
                f"got {raw.shape} features for {len(crops)} faces from {self.recogniser.model_file}; "
                f"expected {EMBED_DIM} finite numbers for each; use another recogniser",
            )
        return raw / np.maximum(np.linalg.norm(raw, axis=1, keepdims=True), 1e-9)

    def _features(self, crops: list[np.ndarray]) -> np.ndarray:
        """What the recogniser answers, (k, d); one by one from the first batch on that it refuses."""
        if self._takes_batches and len(crops) > 1:
            try:
                return self.recogniser.get_feat(crops)
            except ORT_ERRORS as error:
                self._takes_batches = False
                reason = str(error).splitlines()[0]
                log.warning(
                    "%s takes no batches: faces go one by one (%s)", self.recogniser.model_file, reason
                )
        return np.concatenate([self.recogniser.get_feat([crop]) for crop in crops])

    def _detect(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Boxes (k, 4), key points (k, 5, 2) and scores (k,) of the largest faces of one BGR picture."""
        found, points = self.detector.detect(image)
        boxes, scores = found[:, :4], found[:, 4]
        placed = np.ptp(points, axis=1).max(axis=1, initial=0) > 0  # points that coincide fix no crop
        largest = np.argsort(-np.where(placed, areas(boxes), -1), kind="stable")[: min(CROWD, placed.sum())]
        keep = np.sort(largest)
        return boxes[keep], points[keep], scores[keep]

    def _judge(
        self,
        boxes: np.ndarray,
        points: np.ndarray,
        scores: np.ndarray,
        embeds: np.ndarray,
        size: tuple[int, int],
        content: Box | None,
    ) -> Faces:
        """The faces of a picture of this height and width, with their quality, in pixels of the frame."""
        cut, yaw = cuts(boxes, points, *size), yaws(points)
        if content is not None:
            boxes = placed(boxes.reshape(-1, 2, 2), size, content).reshape(-1, 4)
            points = placed(points, size, content)
        side = sizes(boxes)
        usable = (side >= self.min_size) & (cut <= self.max_cut) & (np.abs(yaw) <= self.max_yaw)
        return Faces(
            boxes=boxes,
            points=points,
            scores=scores,
            embeds=embeds,
            sizes=side,
            cuts=cut,
            yaws=yaw,
            usable=usable,
        )


def load_app(pack: Pack, providers: list[str] | None) -> FaceAnalysis:
    """Let insightface load a pack and check that it took the right files.

    Args:
        pack: the checked pack.
        providers: ONNX Runtime execution providers; None lets insightface choose.

    Returns:
        The app with models for detection and recognition.

    Raises:
        ValueError: If a model cannot be run, or insightface took another file.
    """
    try:
        app = FaceAnalysis(
            str(pack.folder),
            allowed_modules=["detection", "recognition"],
            sess_options=session_options(),
            providers=providers,
        )
    except (*ORT_ERRORS, RuntimeError) as error:
        raise ValueError(
            f"face pack: got {pack.folder}, which insightface cannot load ({str(error).splitlines()[0]}); "
            f"expected complete ONNX models; fetch the files again"
        ) from error
    taken = {task: Path(model.model_file).name for task, model in app.models.items()}
    wanted = {"detection": pack.detector.name, "recognition": pack.recogniser.name}
    if taken != wanted:
        raise ValueError(
            f"face pack: got {pack.folder}, of which insightface took {taken}; expected {wanted}; "
            f"move the other models out of the folder"
        )
    return app


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


def check_settings(detector_size: tuple[int, int], min_score: float, max_cut: float, max_yaw: float) -> None:
    """Check what the user chose.

    Args:
        detector_size: width, height.
        min_score: least detection score.
        max_cut: largest share outside the frame.
        max_yaw: furthest turn.

    Raises:
        ValueError: If one of them cannot work.
    """
    if len(detector_size) != 2 or any(side <= 0 or side % STRIDE for side in detector_size):
        raise ValueError(
            f"detector_size: got {detector_size}; expected (width, height), multiples of 32; use (640, 640)"
        )
    if not 0 < min_score < 1:
        raise ValueError(f"min_score: got {min_score}; expected a number between 0 and 1; use 0.5")
    if not 0 <= max_cut <= 1:
        raise ValueError(f"max_cut: got {max_cut}; expected a share from 0 to 1; use 1 to keep all")
    if not max_yaw > 0:
        raise ValueError(f"max_yaw: got {max_yaw}; expected eye distances above 0; use 10 to keep all")


def check_detector(file: Path, fixed: tuple[int, int] | None, wanted: tuple[int, int]) -> None:
    """Refuse a detector that would silently use another canvas.

    Args:
        file: the detector.
        fixed: width and height that it was exported for; None when they are free.
        wanted: detector_size.

    Raises:
        ValueError: If they differ.
    """
    if fixed is not None and tuple(fixed) != tuple(wanted):
        raise ValueError(
            f"detector_size: got {wanted}, but {file.name} was exported for {tuple(fixed)} only; "
            f"set detector_size to that, or export it with free height and width"
        )
