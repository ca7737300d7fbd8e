"""What a run is made of: frozen dataclasses, two presets, and one strict way to change a value.

cfg = override(preset("mini"), {"finetune.steps": 20, "loss": {"weight_id": 10}})
cfg.save("runs/a/config.json")
"""

from semrepa.config.presets import Row, configure, describe, full, mini, preset
from semrepa.config.schema import (
    Config,
    DataConfig,
    DepthConfig,
    FaceConfig,
    GenerateConfig,
    IdentityConfig,
    ImageConfig,
    LossConfig,
    ModelConfig,
    StructureConfig,
    TrainConfig,
    VideoConfig,
)
from semrepa.config.strict import override

__all__ = [
    "Config",
    "DataConfig",
    "DepthConfig",
    "FaceConfig",
    "GenerateConfig",
    "IdentityConfig",
    "ImageConfig",
    "LossConfig",
    "ModelConfig",
    "Row",
    "StructureConfig",
    "TrainConfig",
    "VideoConfig",
    "configure",
    "describe",
    "full",
    "mini",
    "override",
    "preset",
]
