"""A step of fine-tuning: what the alignment losses and the engine around them cost.

    python -m benchmarks.finetune_step           # LoRA of a tiny model on the CPU; on a GPU the real size
    python -m benchmarks.finetune_step --cpu

On the CPU: 4 layers of 4 heads of 64, 17 frames of 96x144, batch 1, one thread, float32, nothing
checkpointed; CPU seconds, medians of steps that all variants take in turns. On a GPU: CogVideoX-5B-I2V with
random weights, 49 frames of 480x720, all weights trained in bfloat16 with 8-bit AdamW and checkpointing; one
variant after the other.

The engine is the training loop as it is run, with reading from the store, its log and its guards. Beside it,
`bare loop` is the least that a step of the same model can be: noise, forward, MSE of v, backward, AdamW, on
a clip in memory. The engine also encodes the noisy first frame anew in each step, as CogVideoX's recipe has
it; the bare loop is timed without that, and with it.
"""

import argparse
import copy
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import torch

from benchmarks.full_scale_parts import TINY_VAE
from semrepa.config import full, mini, override
from semrepa.data.dataset import StoreDataset
from semrepa.data.store import FeatureStore
from semrepa.diffusion import add_noise, velocity
from semrepa.estimate.networks import identity_aligner, latent_shape, structure_aligner
from semrepa.estimate.tables import aligned, digits
from semrepa.estimate.work import Sizes, sizes_of
from semrepa.estimate.work import finetuning as finetuning_work
from semrepa.models.blueprints import OFFICIAL, T5_XXL, VAE, blueprint
from semrepa.models.cogvideox import image_condition
from semrepa.models.freeze import freeze
from semrepa.models.single_frame import single_frames
from semrepa.models.transformer import rotary
from semrepa.training.alignment import Aligners
from semrepa.training.combined import CombinedObjective, Frozen
from semrepa.training.loop import train
from semrepa.training.sources import trainable, trainable_lora, training_stream
from semrepa.training.task import Task

TINY = OFFICIAL["CogVideoX-5b-I2V"] | {
    "num_attention_heads": 4,
    "attention_head_dim": 64,
    "num_layers": 4,
    "time_embed_dim": 64,
    "text_embed_dim": 64,
    "use_learned_positional_embeddings": False,
    "sample_height": 12,
    "sample_width": 18,
    "sample_frames": 17,
}
SMALL = {
    "video": {"num_frames": 17, "height": 96, "width": 144},
    "structure": {"num_layers": 1, "num_heads": 4, "head_dim": 64},
    "identity": {"width": 16, "num_blocks": 1},
    "finetune": {"mode": "lora", "lora_rank": 16, "lora_alpha": 16.0, "lr": 1e-4},
}
LARGE = {"finetune": {"optimizer": "adamw8bit", "weights_dtype": "bfloat16", "gradient_checkpointing": True}}
VARIANTS = {
    "plain": {"loss": {"weight_struct": 0.0, "weight_id": 0.0}},
    "+ structure": {"loss.weight_id": 0.0},
    "+ identity, reading predicted depth": {"loss.weight_struct": 0.0},
    "+ both": {},
    "+ both, self target": {"loss.self_target": True},
    "+ both, SNR gates": {"loss.gate": "snr"},
}
CLIPS = ("a", "b", "c")
PEAKS = {"A100": 312e12, "H100": 989e12, "H200": 989e12}
"""Dense bfloat16 FLOP per second of the data sheets."""


class Bench:
    """The networks and the clips of all variants."""

    def __init__(self, folder: Path, *, gpu: bool) -> None:
        self.folder, self.gpu = folder, gpu
        self.device = torch.device("cuda" if gpu else "cpu")
        brief = {"batch_size": 1, "steps": 100_000, "eval_every": 100_000, "checkpoint_every": 100_000}
        self.cfg = override(override(full() if gpu else mini(), LARGE if gpu else SMALL), {"finetune": brief})
        self.given = {
            "transformer": OFFICIAL["CogVideoX-5b-I2V"] if gpu else TINY,
            "vae": VAE if gpu else TINY_VAE,
            "text_encoder": T5_XXL,
        }
        self.sizes: Sizes = sizes_of(self.cfg, self.given)
        self.store = FeatureStore(folder / "store", {"random": True})
        for seed, clip in enumerate(CLIPS):
            self.store.write(clip, self._record(seed))
        dtype = torch.bfloat16 if gpu else torch.float32
        self.transformer = self._transformer(dtype)
        stack = self.sizes.clip
        self.frozen = Frozen(
            vae=freeze(blueprint("vae", self.given["vae"], device=self.device, dtype=dtype)),
            aligners=Aligners(
                structure=freeze(structure_aligner(self.cfg, self.device)),
                identity=freeze(identity_aligner(self.cfg.identity, self.device)),
            ),
            alphas_cumprod=torch.linspace(0.999, 0, 1000, device=self.device),
            empty_prompt=torch.zeros(1, stack.text_tokens, stack.text_features, device=self.device),
        )

    def _transformer(self, dtype: torch.dtype):
        transformer = blueprint("transformer", self.given["transformer"], device=self.device, dtype=dtype)
        if self.cfg.finetune.mode == "lora":
            return trainable_lora(transformer, self.cfg.finetune, dtype, 0).train()
        return trainable(transformer, self.cfg.finetune).train()

    def _record(self, seed: int) -> dict[str, torch.Tensor]:
        draw = torch.Generator().manual_seed(seed)
        video, stack = self.cfg.video, self.sizes.clip
        embeds = torch.randn(video.num_frames, 512, generator=draw)
        size = (3, video.height, video.width)
        return {
            "latents": torch.randn(latent_shape(video), generator=draw).half(),
            "depth_latents": torch.randn(latent_shape(video), generator=draw).half(),
            "depth_range": torch.tensor([0.0, 1.0]),
            "first_frame": torch.randint(0, 256, size, generator=draw).to(torch.uint8),
            "prompt_embeds": torch.randn(stack.text_tokens, stack.text_features, generator=draw).half(),
            "id_embeds": torch.nn.functional.normalize(embeds, dim=1).half(),
            "face_mask": torch.ones(video.num_frames, dtype=torch.bool),
            "face_boxes": torch.zeros(video.num_frames, 4),
        }

    def engine(self, name: str, changes: dict[str, object]) -> Iterator[object]:
        """Steps of the training loop."""
        cfg = override(self.cfg, changes)
        transformer = self.transformer if self.gpu else copy.deepcopy(self.transformer)
        objective = CombinedObjective(transformer, self.frozen, cfg)
        task = Task(
            objective=objective,
            batches=training_stream(self.store, CLIPS, cfg.finetune, cfg.seed),
            export=lambda: None,
            observe=objective.weights.observe,
            state={"loss_weights": objective.weights},
            frozen={"VAE": self.frozen.vae},
        )
        return train(task, cfg.finetune, self.folder / name, seed=cfg.seed)

    def bare(self, *, encodes: bool) -> Callable[[], object]:
        """A step written down as plainly as possible, with all that does not change kept ready."""
        transformer, table = copy.deepcopy(self.transformer), self.frozen.alphas_cumprod
        trained = [p for p in transformer.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=1e-4)
        batch = StoreDataset(self.store, CLIPS).batch([0])
        frames = batch.latents.shape[1]
        positions = rotary(transformer, frames, *batch.latents.shape[3:])
        recipe = {"noise_mean": -3.0, "noise_std": 0.5, "generator": torch.Generator()}

        def encoded() -> torch.Tensor:
            with single_frames(self.frozen.vae):
                return image_condition(self.frozen.vae, batch.first_frames, frames, **recipe)

        kept = encoded()

        def step() -> None:
            noise, timesteps = torch.randn_like(batch.latents), torch.randint(1000, (1,))
            seen = add_noise(batch.latents, noise, timesteps, table)
            image = encoded() if encodes else kept
            v_pred = transformer(
                hidden_states=torch.cat([seen, image], dim=2),
                encoder_hidden_states=batch.prompt_embeds,
                timestep=timesteps,
                image_rotary_emb=positions,
                return_dict=False,
            )[0]
            (v_pred - velocity(batch.latents, noise, timesteps, table)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()

        return step

    def flops(self, changes: dict[str, object]) -> float:
        """FLOP of a step by the estimate's formulas."""
        cfg = override(self.cfg, changes)
        return sum(part.flops for part in finetuning_work(cfg, self.sizes))


def in_turns(steps: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median CPU seconds of each step; the first two rounds do not count."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds + 2):
        for name, step in steps.items():
            began = time.process_time()
            step()
            seconds[name].append(time.process_time() - began)
    return {name: statistics.median(found[2:]) for name, found in seconds.items()}


def on_cpu(folder: Path, rounds: int) -> None:
    """Print the table of the tiny model, and the overhead."""
    torch.set_num_threads(1)
    bench = Bench(folder, gpu=False)
    runs = {name: bench.engine(name, changes) for name, changes in VARIANTS.items()}
    bare = {f"bare loop{', first frame encoded' * on}": bench.bare(encodes=bool(on)) for on in (0, 1)}
    steps = {**bare, **{name: run.__next__ for name, run in runs.items()}}
    seconds = in_turns(steps, rounds)
    plain = bench.flops(VARIANTS["plain"])
    rows = []
    for name in steps:
        expected = digits(bench.flops(VARIANTS[name]) / plain) if name in VARIANTS else ""
        ratio = digits(seconds[name] / seconds["plain"])
        rows.append({"step": name, "CPU s": digits(seconds[name]), "ratio": ratio, "ratio of FLOP": expected})
    print(aligned(f"Tiny model, LoRA, float32, one thread, medians of {rounds} rounds in turns", rows))
    strict, same = (seconds["plain"] / seconds[name] for name in bare)
    print(f"\nengine overhead: {strict:.3f}")
    print(f"of it without the first frame's encoding, which is part of the recipe: {same:.3f}")


def on_gpu(folder: Path, rounds: int) -> None:
    """Print the table of the real size."""
    bench, rows, first = Bench(folder, gpu=True), [], 0.0
    device = torch.cuda.get_device_name()
    peak = next((flops for name, flops in PEAKS.items() if name in device), None)
    for name, changes in VARIANTS.items():
        run = bench.engine(name, changes)
        list(itertools.islice(run, 2))
        torch.cuda.reset_peak_memory_stats()
        seconds = []
        for _ in range(rounds):
            began = time.perf_counter()
            next(run)
            torch.cuda.synchronize()
            seconds.append(time.perf_counter() - began)
        run.close()
        median, flops = statistics.median(seconds), bench.flops(changes)
        first = first or median
        rows.append(
            {
                "step": name,
                "s": digits(median),
                "ratio": digits(median / first),
                "ratio of FLOP": digits(flops / bench.flops(VARIANTS["plain"])),
                "GB at peak": digits(torch.cuda.max_memory_allocated() / 1e9),
                "TFLOP/s": digits(flops / median / 1e12),
                "MFU": f"{flops / median / peak:.0%}" if peak else "",
            }
        )
    print(aligned(f"CogVideoX-5B-I2V, all weights in bfloat16, 8-bit AdamW, batch 1, on {device}", rows))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cpu", action="store_true", help="the tiny model even where a GPU is")
    parser.add_argument("--rounds", type=int, help="timed steps of each variant; default: 20, on a GPU 4")
    options = parser.parse_args()
    gpu = torch.cuda.is_available() and not options.cpu
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(mock.patch("semrepa.training.loop.save_checkpoint"))  # steps, not disks
        if gpu:
            on_gpu(folder, options.rounds or 4)
        else:
            cpu = torch.device("cpu")
            for module in ("processes", "sources"):
                stack.enter_context(mock.patch(f"semrepa.training.{module}.pick_device", return_value=cpu))
            stack.enter_context(mock.patch("semrepa.runtime._cpu_has_bf16", return_value=False))  # float32
            on_cpu(folder, options.rounds or 20)


if __name__ == "__main__":
    main()
