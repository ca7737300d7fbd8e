"""LoRA: small trained matrices beside the frozen ones of a transformer.

Saved in the form of diffusers, so that the stock pipeline takes them with `load_lora_weights`.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import CogVideoXImageToVideoPipeline, CogVideoXTransformer3DModel
from peft import LoraConfig, get_peft_model_state_dict

FILE = "pytorch_lora_weights.safetensors"
"""File of the matrices in their folder, as diffusers names it."""
ADAPTER = "default"


def add_lora(
    transformer: CogVideoXTransformer3DModel, *, rank: int, alpha: float, targets: Sequence[str]
) -> CogVideoXTransformer3DModel:
    """Freeze a transformer and put trained matrices in float32 beside some of its layers.

    They start as no change: the first of each pair is random (from torch's global generator), the second 0.

    Args:
        transformer: changed in place.
        rank: columns of the first and rows of the second matrix.
        alpha: their product is multiplied by `alpha / rank`.
        targets: ends of the names of linear layers, such as `to_q`.

    Returns:
        The same transformer.

    Raises:
        ValueError: no layer has such a name.
    """
    found = [name for name, _ in transformer.named_modules()]
    unknown = [target for target in targets if not any(name.endswith(f".{target}") for name in found)]
    if unknown:
        raise ValueError(
            f"lora_targets: got {', '.join(unknown)}, which no layer is called; "
            "expected ends of names of linear layers, such as to_q, to_k, to_v, to_out.0"
        )
    transformer.requires_grad_(False)
    settings = {"r": rank, "lora_alpha": alpha, "target_modules": list(targets), "lora_dropout": 0.0}
    transformer.add_adapter(LoraConfig(**settings), adapter_name=ADAPTER)
    for parameter in transformer.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return transformer


def save_lora(transformer: CogVideoXTransformer3DModel, folder: Path) -> None:
    """Write the trained matrices, with rank and alpha, for `load_lora_weights` of the stock pipeline.

    Args:
        transformer: from `add_lora`.
        folder: made where missing.
    """
    settings = transformer.peft_config[ADAPTER].to_dict()
    plain = {name: sorted(value) if isinstance(value, set) else value for name, value in settings.items()}
    CogVideoXImageToVideoPipeline.save_lora_weights(
        folder,
        transformer_lora_layers=get_peft_model_state_dict(transformer, adapter_name=ADAPTER),
        weight_name=FILE,
        transformer_lora_adapter_metadata=plain,
    )


@torch.no_grad()
def load_lora(transformer: CogVideoXTransformer3DModel, folder: Path) -> CogVideoXTransformer3DModel:
    """Put saved matrices beside the layers of a transformer, as the stock pipeline does.

    Args:
        transformer: the base model's, changed in place.
        folder: written by `save_lora`, or by any training that diffusers understands.

    Returns:
        The same transformer.

    Raises:
        FileNotFoundError: the folder holds no matrices.
    """
    if not (folder / FILE).is_file():
        raise FileNotFoundError(
            f"got {folder}, which holds no {FILE}; expected a folder written by finetune with mode lora"
        )
    transformer.load_lora_adapter(folder, weight_name=FILE, prefix="transformer", local_files_only=True)
    return transformer
