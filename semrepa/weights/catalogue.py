"""Every network that a run can need: what it is, whose, under which terms, how big, and how to get it."""

from collections.abc import Callable, Mapping
from pathlib import Path

from semrepa.config import Config, full
from semrepa.weights.catalogue_of_judges import JUDGE_ENTRIES
from semrepa.weights.roles import Network, Role

PACK = "antelopev2"
DETECTOR, RECOGNISER = "scrfd_10g_bnkps.onnx", "arcface.onnx"
INSIGHTFACE = Path("~/.insightface/models")
"""Where insightface keeps its packs."""

_ZIP = "https://github.com/deepinsight/insightface/releases/download/model-zoo/antelopev2.zip"
_VARIANTS = {"vits": ("Small", "0.12 GB"), "vitb": ("Base", "0.46 GB"), "vitl": ("Large", "1.54 GB")}
_OWN = "yours, within the terms of its teacher: you train it"
_RESEARCH_ONLY = "non-commercial research only"
_PARTS = ("*.json", "tokenizer/*", "*/model.safetensors", "*/diffusion_pytorch_model.safetensors")
"""Files of a pipeline in full precision, without its half-precision doubles and single-file forms."""
_PATTERNS = " ".join(f"--include '{pattern}'" for pattern in _PARTS)


def catalogue(cfg: Config) -> dict[Role, Network]:
    """Describe the networks that a config asks for.

    Args:
        cfg: resolved config.

    Returns:
        Network by role: what runs need, the models compared with, and the judges.
    """
    return {role: make(cfg) for role, make in {**_ENTRIES, **JUDGE_ENTRIES}.items()}


def is_hub_name(name: str) -> bool:
    """Whether a text reads like `owner/name` of a hub repository and not like a path.

    Args:
        name: value of a config field.

    Returns:
        True for one slash between two plain words, where no such path exists.
    """
    parts = name.split("/")
    plain = all(part and part[0] not in ".~" and "\\" not in part for part in parts)
    return len(parts) == 2 and plain and not Path(name).exists()


def _model(cfg: Config) -> Network:
    usual, given = str(full().model.weights), cfg.model.weights
    repo = given if given and is_hub_name(given) else usual
    name = repo.rpartition("/")[2]
    return Network(
        role="model",
        title=name,
        licence="CogVideoX licence: free for research, commercial use needs a registration",
        size="21.2 GB" if repo == usual else "size not known",
        commands=(f"hf download {repo}",),
        field="model.weights",
        argument=given,
        pinned=cfg.model.sha256,
        variable="SEMREPA_MODEL_WEIGHTS",
        names=(name, repo),
        repo=repo,
        wanted=("*.json", "*.safetensors", "*.model", "*.txt"),
    )


def _depth(cfg: Config) -> Network:
    size, bytes_ = _VARIANTS[cfg.depth.variant]
    file = f"{'metric_' if cfg.depth.metric else ''}video_depth_anything_{cfg.depth.variant}.pth"
    repo = f"{'Metric-' if cfg.depth.metric else ''}Video-Depth-Anything-{size}"
    free = cfg.depth.variant == "vits"
    return Network(
        role="depth",
        title=file,
        licence="Apache-2.0" if free else "CC-BY-NC-4.0: non-commercial use only",
        size=bytes_,
        commands=(f"hf download depth-anything/{repo} {file}",),
        field="depth.weights",
        argument=cfg.depth.weights,
        pinned=cfg.depth.sha256,
        variable="SEMREPA_DEPTH_WEIGHTS",
        names=(file, f"{repo}/{file}"),
        repo=f"depth-anything/{repo}",
        wanted=(file,),
    )


def _face(cfg: Config) -> Network:
    home = Path(cfg.weights.folder) if cfg.weights.folder else INSIGHTFACE
    return Network(
        role="face",
        title=f"{PACK} ({DETECTOR}) with Arc2Face's {RECOGNISER}",
        licence=f"insightface and Arc2Face models: {_RESEARCH_ONLY}",
        size="0.28 GB",
        commands=(
            f"curl -L -O {_ZIP}",
            f"unzip -j antelopev2.zip -d {home / PACK}",
            f"hf download FoivosPar/Arc2Face {RECOGNISER} --local-dir {home / PACK}",
        ),
        field="face.pack",
        argument=cfg.face.pack,
        pinned=cfg.face.sha256,
        variable="SEMREPA_FACE_PACK",
        names=(PACK,),
        repo="FoivosPar/Arc2Face",
        wanted=(RECOGNISER,),
    )


def _people(cfg: Config) -> Network:
    return Network(
        role="people",
        title="YOLOv8 as ONNX (yolov8n.onnx, or a larger one)",
        licence="AGPL-3.0 (ultralytics): fine to run, mind it when you serve or pass on what is built on it",
        size="0.01 GB",
        commands=(
            "python3 -m venv yolo && yolo/bin/pip install ultralytics onnx  # an environment of its own",
            "yolo/bin/yolo export model=yolov8n.pt format=onnx",
        ),
        field="people.weights",
        argument=cfg.people.weights,
        pinned=cfg.people.sha256,
        variable="SEMREPA_PEOPLE_WEIGHTS",
        names=tuple(f"yolov8{size}.onnx" for size in "nsmlx"),
    )


def _structure(cfg: Config) -> Network:
    return Network(
        role="structure",
        title=f"structure aligner for {cfg.structure.input} latents",
        licence=_OWN,
        size="2.2 GB in full",
        commands=_training(cfg, "03_structure_aligner", f"{cfg.structure.input}/structure_aligner"),
        field="structure.weights",
        argument=cfg.structure.weights,
    )


def _identity(cfg: Config) -> Network:
    depth = "with" if cfg.identity.use_depth else "without"
    return Network(
        role="identity",
        title=f"identity aligner {depth} depth",
        licence=_OWN,
        size="below 0.1 GB in full",
        commands=_training(cfg, "04_id_aligner", f"{depth}_depth/identity_aligner"),
        field="identity.weights",
        argument=cfg.identity.weights,
    )


def _svd(cfg: Config) -> Network:
    repo = "stabilityai/stable-video-diffusion-img2vid-xt"
    return Network(
        role="svd",
        title="Stable Video Diffusion XT, 25 frames",
        licence="Stability AI community licence: accept it on the hub first; commercial use has conditions",
        size="about 9 GB",
        commands=(f"hf download {repo} {_PATTERNS}",),
        field="baselines.svd",
        argument=cfg.baselines.svd,
        variable="SEMREPA_SVD_WEIGHTS",
        names=(repo.rpartition("/")[2], repo),
        repo=repo,
        wanted=_PARTS,
    )


def _i2vgen_xl(cfg: Config) -> Network:
    repo = "ali-vilab/i2vgen-xl"
    return Network(
        role="i2vgen-xl",
        title="I2VGen-XL",
        licence="MIT",
        size="about 10 GB",
        commands=(f"hf download {repo} {_PATTERNS}",),
        field="baselines.i2vgen_xl",
        argument=cfg.baselines.i2vgen_xl,
        variable="SEMREPA_I2VGEN_XL_WEIGHTS",
        names=(repo.rpartition("/")[2], repo),
        repo=repo,
        wanted=_PARTS,
    )


def _training(cfg: Config, notebook: str, result: str) -> tuple[str, str]:
    options = f"--preset {cfg.preset} --run-dir runs"
    command = f"python -m semrepa.headless notebooks/{notebook}.ipynb {options}"
    return command, f"# with the settings of this run; then it is in runs/{notebook}/{result}"


_ENTRIES: Mapping[Role, Callable[[Config], Network]] = {
    "model": _model,
    "depth": _depth,
    "face": _face,
    "people": _people,
    "structure": _structure,
    "identity": _identity,
    "svd": _svd,
    "i2vgen-xl": _i2vgen_xl,
}
