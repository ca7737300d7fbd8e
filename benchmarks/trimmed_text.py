"""Text features of whole padded captions against those of the captions' own tokens.

`python -m benchmarks.trimmed_text` prints what a caption takes in a store and how far the shipped mini
transformer's answer moves when the padding behind a caption is replaced by that of an empty caption
(`data.trim_text=true`). As a yardstick, the same for no caption at all.
"""

import statistics

import torch
from torch import Tensor

from semrepa.config import mini
from semrepa.data.index import read_index
from semrepa.models.cogvideox import encode_prompts, predict_v, token_counts
from semrepa.weights import load_base

TIMESTEPS = (100, 500, 900)


def moved(answer: Tensor, exact: Tensor) -> float:
    """Root mean square difference relative to the exact answer."""
    return ((answer - exact).norm() / exact.norm()).item()


@torch.no_grad()
def main() -> None:
    """Print the table."""
    cfg = mini()
    base = load_base(cfg, ("transformer", "tokenizer", "text_encoder"))
    length = base.transformer.config.max_text_seq_length
    captions = [row.caption for row in read_index(cfg.data.index)]
    full = encode_prompts(captions, base.tokenizer, base.text_encoder, length)
    empty = encode_prompts([""], base.tokenizer, base.text_encoder, length)
    counts = token_counts(captions, base.tokenizer, length)
    trimmed = torch.stack([torch.cat([x[:k], empty[0, k:]]) for x, k in zip(full, counts, strict=True)])
    torch.manual_seed(0)
    noisy, image = torch.randn(2, len(captions), 5, 16, 16, 24)
    print(f"{len(captions)} captions of {min(counts)} to {max(counts)} tokens, padded to {length}")
    print(f"{'timestep':<10} {'trimmed':>9} {'no caption':>11}   (change of v, relative to its size)")
    for timestep in TIMESTEPS:
        level = torch.full((len(captions),), timestep)
        exact, cut, none = (
            predict_v(base.transformer, noisy, image, text, level)
            for text in (full, trimmed, empty.expand_as(full))
        )
        print(f"{timestep:<10} {moved(cut, exact):9.4f} {moved(none, exact):11.4f}")
    share = statistics.mean(counts) / length
    print(f"a caption takes {share:.0%} of its padded size in a store")


if __name__ == "__main__":
    main()
