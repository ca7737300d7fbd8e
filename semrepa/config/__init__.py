"""What a run is made of: frozen dataclasses, two presets, and one strict way to change a value.

cfg = override(preset("mini"), {"finetune.steps": 20, "loss": {"weight_id": 10}})
cfg.save("runs/a/config.json")
"""

from semrepa.config.presets import Row, configure, describe, full, mini, preset
from semrepa.config.schema import (
    Config,
    FinetuneConfig,
    LossConfig,
    StructureConfig,
    TrainConfig,
    WeightSchedule,
)
from semrepa.config.strict import override

__all__ = [
    "Config",
    "FinetuneConfig",
    "LossConfig",
    "Row",
    "StructureConfig",
    "TrainConfig",
    "WeightSchedule",
    "configure",
    "describe",
    "full",
    "mini",
    "override",
    "preset",
]
