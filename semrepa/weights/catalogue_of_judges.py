"""The networks that only scores of videos need: whose they are, under which terms, and how to get them."""

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from semrepa.config import Config
from semrepa.weights.roles import Network, Role

SECOND_PACK = "buffalo_l"
"""insightface's default pack, trained on other faces than the teacher's."""

_BACKBONES = {
    "alex": ("alexnet-owt-7be5be79.pth", "0.24 GB"),
    "vgg": ("vgg16-397923af.pth", "0.55 GB"),
}
_RAFT = {
    "raft_large": ("raft_large_C_T_SKHT_V2-ff5fadd5.pth", "0.02 GB"),
    "raft_small": ("raft_small_C_T_V2-01064c6d.pth", "0.004 GB"),
}
_INCEPTION = "pt_inception-2015-12-05-6726825d.pth"
_FID = "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights"
_TORCHVISION = "https://download.pytorch.org/models"
_INSIGHTFACE = "https://github.com/deepinsight/insightface/releases/download"


def _lpips_backbone(cfg: Config) -> Network:
    file, size = _BACKBONES[cfg.metrics.lpips]
    return Network(
        role="lpips_backbone",
        title=f"{file} (torchvision), under LPIPS",
        licence="BSD-3-Clause (torchvision); trained on ImageNet, whose pictures are for research",
        size=size,
        commands=(f"curl -L -O {_TORCHVISION}/{file}",),
        field="metrics.lpips_backbone",
        argument=cfg.metrics.lpips_backbone,
        names=(file,),
        places=_torch_hub(),
    )


def _lpips_heads(cfg: Config) -> Network:
    file = f"{cfg.metrics.lpips}.pth"
    found = importlib.util.find_spec("lpips")
    home = Path(str(found.origin)).parent if found else None
    return Network(
        role="lpips_heads",
        title=f"{file} of the lpips package, version 0.1",
        licence="BSD-2-Clause",
        size="0.00001 GB",
        commands=("pip install --no-deps lpips  # it is found there, and is never run",),
        field="metrics.lpips_heads",
        argument=cfg.metrics.lpips_heads,
        names=(file, f"lpips/{file}"),
        places=(("lpips package", home / "weights" / "v0.1"),) if home else (),
    )


def _inception(cfg: Config) -> Network:
    return Network(
        role="inception",
        title=f"{_INCEPTION} (pytorch-fid), for FID and the motion score",
        licence="Apache-2.0",
        size="0.10 GB",
        commands=(f"curl -L -O {_FID}/{_INCEPTION}",),
        field="metrics.inception",
        argument=cfg.metrics.inception,
        names=(_INCEPTION, "weights-inception-2015-12-05-6726825d.pth"),
        places=_torch_hub(),
    )


def _raft(cfg: Config) -> Network:
    file, size = _RAFT.get(cfg.metrics.flow, _RAFT["raft_large"])
    return Network(
        role="raft",
        title=f"{file} (torchvision), for the motion score",
        licence="BSD-3-Clause (torchvision); trained on data sets for research",
        size=size,
        commands=(f"curl -L -O {_TORCHVISION}/{file}",),
        field="metrics.raft",
        argument=cfg.metrics.raft,
        names=(file,),
        places=_torch_hub(),
    )


def _clip(cfg: Config) -> Network:
    repo = "openai/clip-vit-base-patch32"
    return Network(
        role="clip",
        title="CLIP ViT-B/32, for the text score",
        licence="MIT (OpenAI)",
        size="0.61 GB",
        commands=(f"hf download {repo} --exclude '*.msgpack' '*.h5'",),
        field="metrics.clip",
        argument=cfg.metrics.clip,
        names=("clip-vit-base-patch32", repo),
        repo=repo,
        wanted=("*.json", "merges.txt", "model.safetensors", "pytorch_model.bin"),
    )


def _second_face(cfg: Config) -> Network:
    home = Path(cfg.weights.folder) if cfg.weights.folder else Path("~/.insightface/models")
    return Network(
        role="second_face",
        title=f"{SECOND_PACK} (det_10g.onnx, w600k_r50.onnx), a second opinion for the ID score",
        licence="insightface models: non-commercial research only",
        size="0.29 GB",
        commands=(
            f"curl -L -O {_INSIGHTFACE}/v0.7/{SECOND_PACK}.zip",
            f"unzip -j {SECOND_PACK}.zip -d {home / SECOND_PACK}",
        ),
        field="metrics.second_face",
        argument=cfg.metrics.second_face,
        names=(SECOND_PACK,),
        places=(("insightface", Path("~/.insightface/models").expanduser()),),
    )


def _torch_hub() -> tuple[tuple[str, Path], ...]:
    return (("torch hub cache", Path(torch.hub.get_dir()) / "checkpoints"),)


JUDGE_ENTRIES: Mapping[Role, Callable[[Config], Network]] = {
    "lpips_backbone": _lpips_backbone,
    "lpips_heads": _lpips_heads,
    "inception": _inception,
    "raft": _raft,
    "clip": _clip,
    "second_face": _second_face,
}
"""What describes each network."""
