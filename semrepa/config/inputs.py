"""The fields of a run that decide what goes into it: videos, the base model, and the teachers."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from semrepa.config.kinds import Count, CountOrZero, NotNegative, Positive, Sha256, Share
from semrepa.config.strict import Section, Within


@dataclass(frozen=True, kw_only=True)
class VideoConfig(Section):
    """Size of every clip after reading."""

    num_frames: Count
    """Frames per clip n = 4(f-1)+1, f latent frames. Paper: 49, Sec. 5.1.1."""
    fps: Positive = 8.0
    """Frames per second after resampling. Paper: 8, Sec. 5.1.1."""
    height: Count
    """Pixels, a multiple of 16 (8x in the VAE, patch 2 in the transformer). Paper: 480, Sec. 5.1.1."""
    width: Count
    """Pixels, a multiple of 16. Paper: 720, Sec. 5.1.1."""

    @property
    def shape(self) -> dict[str, Any]:
        """`num_frames`, `fps` and `size` (height, width), as readers and renderers of clips take them."""
        return {"num_frames": self.num_frames, "fps": self.fps, "size": (self.height, self.width)}

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least, step in (("num_frames", 5, 4), ("height", 16, 16), ("width", 16, 16)):
            got = getattr(self, name)
            below = max(least, got - (got - least) % step)
            if got != below:
                known = f"{least}, {least + step}, {least + 2 * step}, ..."
                raise ValueError(f"{name}: got {got}; expected {known}; use {below} or {below + step}")


@dataclass(frozen=True, kw_only=True)
class DataConfig(Section):
    """Where clips come from and which are kept."""

    index: str = "data_samples/index.jsonl"
    """Index file: one JSON line per clip; paths in it are relative to its folder."""
    store: str | None = None
    """Folder of the prepared features; None: `store` inside the cache folder of the run."""
    extra_train: CountOrZero
    """Clips of the sample world rendered on top of the index for training. Ours."""
    extra_heldout: CountOrZero
    """Clips of the sample world, of other people, rendered for evaluation. Ours."""
    min_person_score: Share = 0.5
    """Detector score from which a person counts in the human filter. Sec. 5.1.1; the number is ours."""
    min_person_area: Share = 0.02
    """Share of the picture, without padding, that the largest person must cover. Ours."""
    picture_side: Annotated[int | None, Within(1)] = None
    """Faces and people are measured on the source's pictures, scaled down evenly where their shorter side is
    longer than this, pixels; None: on the resized frames. Ours."""
    max_repeats: Share = 0.5
    """A clip is left out when more of its frames show the same source frame as the one before. Ours."""
    min_change: NotNegative = 0.1
    """It is left out as static when no frame differs that much from the one before, 0 to 255. Ours."""
    max_jump: Annotated[float | None, Within(1)] = None
    """It is left out as cut when some change is more than this multiple of the usual one, such as 8; None:
    kept, and `jump` in the manifest tells. Ours."""
    read_timeout: Annotated[float | None, Within(1)] = None
    """Seconds until reading a clip, in a process of its own, is given up; None: no limit, in this one."""
    read_ahead: CountOrZero = 2
    """Clips that a thread reads while the networks look at one; each waits in memory with frames. Ours."""
    max_reject_share: Share = 0.5
    """A run stops when more of its latest 100 clips cannot be read for one reason; 1: never. Ours."""
    trim_text: bool = False
    """Keep text features of real tokens only; padding is then that of the empty caption. Ours."""


@dataclass(frozen=True, kw_only=True)
class WeightsConfig(Section):
    """Where weights that are not named one by one are looked for."""

    folder: str | None = None
    """Folder of downloaded weights; None: the environment variable SEMREPA_WEIGHTS, if set."""
    allow_download: bool = False
    """Fetch missing weights at the start of a run; never in offline mode (HF_HUB_OFFLINE=1)."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Section):
    """The image-to-video model that is fine-tuned."""

    weights: str | None = None
    """CogVideoX-I2V folder or hub id; None: the shipped mini weights. Paper: CogVideoX-5b-I2V."""
    sha256: Sha256 = None
    """Hash that the weights must have; None: any."""
    vae_tiling: bool = False
    """Encode and decode in overlapping tiles: less memory, 40 % more work and slightly other numbers."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Type of frozen weights; auto: bfloat16 on a GPU that has it, else float32. Losses are float32."""


@dataclass(frozen=True, kw_only=True)
class DepthConfig(Section):
    """The depth teacher and how its answer becomes a picture."""

    teacher: Literal["exact", "video_depth_anything"]
    """exact: the sample world's own depth; video_depth_anything: the paper's teacher, Sec. 4.2.1."""
    variant: Literal["vits", "vitb", "vitl"] = "vitl"
    """Size of Video Depth Anything. Ours (the paper does not say)."""
    weights: str | None = None
    """Video Depth Anything checkpoint file; None: looked for by its official name."""
    sha256: Sha256 = None
    """Hash that the checkpoint must have; None: any."""
    metric: bool = False
    """Use the metric checkpoint, whose answer in metres is inverted before it is painted. Ours."""
    input_size: Annotated[int, Within(14)] = 518
    """Shorter side that Video Depth Anything looks at, a multiple of 14; its authors use 518."""
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """Precision of Video Depth Anything; half precision can give black or flickering depth."""
    frame_batch: Count = 4
    """Frames at a time in those parts of it that do not mix frames: memory only, not the answer."""
    colormap: Literal["inferno", "magma", "gray"] = "inferno"
    """Colours for depth, brighter is closer (Sec. 4.2.1); the choice of map is ours."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.input_size % 14:
            below = self.input_size - self.input_size % 14
            raise ValueError(
                f"input_size: got {self.input_size}; expected a multiple of 14; use {below} or {below + 14}"
            )


@dataclass(frozen=True, kw_only=True)
class FaceConfig(Section):
    """The face teacher (insightface detector and ArcFace recogniser)."""

    pack: str | None = None
    """Folder with the detector and recogniser (ONNX); None: the shipped mini pack."""
    sha256: Sha256 = None
    """Common hash that the pack's two models must have; None: any."""
    detector_size: Annotated[tuple[int, int], Within(32)]
    """Detector input (width, height) in pixels, multiples of 32. Ours."""
    min_score: Share = 0.5
    """Detections below this score are dropped. Ours (insightface's own default)."""
    min_size: NotNegative
    """Faces with a shorter side below this many pixels of the frame are masked. Ours."""
    max_cut: Share = 1.0
    """Faces with more than this share of their box outside the frame are masked; 1 keeps all. Ours."""
    max_yaw: Positive = 10.0
    """Faces turned further than this are masked: nose off the eyes' middle, in eye distances. Ours."""
    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    """onnxruntime execution providers, in order of preference."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if any(side % 32 for side in self.detector_size):
            raise ValueError(f"detector_size: got {self.detector_size}; expected multiples of 32")


@dataclass(frozen=True, kw_only=True)
class PeopleConfig(Section):
    """The detector behind the human filter; the filter's thresholds are in `data`."""

    detector: Literal["face", "yolov8"]
    """face: a face on one of a few frames stands for a person; yolov8: the paper's, Sec. 5.1.1."""
    weights: str | None = None
    """YOLOv8 exported to ONNX; needed by that detector only."""
    sha256: Sha256 = None
    """Hash that the file must have; None: any."""


@dataclass(frozen=True, kw_only=True)
class MetricsConfig(Section):
    """The networks that judge videos; without their weights mini takes random ones, labelled; full stops."""

    lpips: Literal["alex", "vgg"] = "alex"
    """Classifier of LPIPS; the paper does not say which. alex: the usual one; vgg: ten times slower."""
    lpips_backbone: str | None = None
    """torchvision's file of that classifier; None: looked for by its official name."""
    lpips_heads: str | None = None
    """File of the `lpips` package with the weights of the layers; None: looked for, there too."""
    inception: str | None = None
    """FID's Inception as pytorch-fid or torch-fidelity have it; None: looked for by their names."""
    flow: Literal["raft_large", "raft_small", "dis"] = "raft_large"
    """Optical flow of the motion score; dis: OpenCV's, without a network. The paper: PhysGen's, RAFT."""
    raft: str | None = None
    """torchvision's file of RAFT; None: looked for by its official name."""
    clip: str | None = None
    """Folder of CLIP ViT-B/32, by which the paper's text scores are explained; None: looked for."""
    second_face: str | None = None
    """Face pack whose recogniser no loss has seen, for the ID score; None: buffalo_l is looked for."""
