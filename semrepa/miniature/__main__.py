"""`python -m semrepa.miniature`: renders the world and trains every mini network, part by part.

Each part resumes where it stopped and logs to `semrepa/assets/mini/logs/`. On two CPU cores all of it
takes hours.
"""

import argparse
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import CogVideoXTransformer3DModel
from transformers import T5EncoderModel, T5Tokenizer

from semrepa.config import override
from semrepa.data.store import FeatureStore
from semrepa.miniature.clips import HELDOUT_SEED, TRAIN_SEED, ClipSet, load_clips, render_clips
from semrepa.miniature.detector import build_detector
from semrepa.miniature.face_quality import write_face_quality
from semrepa.miniature.networks import (
    build_config,
    copy_half,
    follow,
    new_transformer,
    save_pipeline,
    set_scaling_factor,
    train_base,
)
from semrepa.miniature.portraits import portrait_features, render_portraits, train_on_portraits
from semrepa.miniature.quality import write_quality
from semrepa.miniature.recogniser import build_recogniser
from semrepa.miniature.records import write_records
from semrepa.miniature.text import train_text
from semrepa.miniature.vae import train_vae
from semrepa.models.cogvideox import load_cogvideox
from semrepa.models.identity import IdentityAligner
from semrepa.models.structure import StructureAligner
from semrepa.teachers.face import InsightFaceTeacher
from semrepa.training.checks import EXACT, record_teachers
from semrepa.training.pretrain import pretrain_identity, pretrain_structure
from semrepa.weights.check import sha256_of_weights

ASSETS = Path(__file__).parents[1] / "assets" / "mini"
TRAIN_CLIPS, HELDOUT_CLIPS = 1600, 60
PORTRAITS = 6000


class Build:
    """The parts in their order; `work` keeps everything that is not shipped."""

    def __init__(self, work: Path, assets: Path, seed: int) -> None:
        """Sets the folders.

        Args:
            work: clips, checkpoints, feature store and run folders.
            assets: where the shipped files go.
            seed: of everything.
        """
        self.work, self.assets, self.seed = work, assets, seed
        self.log = assets / "logs"
        self.log.mkdir(parents=True, exist_ok=True)
        self.raw = work / "cogvideox_untrained"

    def _clips(self) -> tuple[ClipSet, ClipSet]:
        folder = self.work / "clips"
        train = load_clips(folder, first_seed=TRAIN_SEED, count=TRAIN_CLIPS)
        return train, load_clips(folder, first_seed=HELDOUT_SEED, count=HELDOUT_CLIPS)

    def clips(self) -> None:
        """Renders training and held-out clips."""
        for seed, count in ((HELDOUT_SEED, HELDOUT_CLIPS), (TRAIN_SEED, TRAIN_CLIPS)):
            render_clips(self.work / "clips", first_seed=seed, count=count, workers=os.cpu_count() or 1)

    def detector(self) -> None:
        """Trains the face detector."""
        build_detector(self.assets / "face", seed=self.seed, work=self.work, log=self.log)

    def recogniser(self) -> None:
        """Trains the face recogniser."""
        build_recogniser(self.assets / "face", seed=self.seed, work=self.work, log=self.log)

    def vae(self) -> None:
        """Trains the VAE and measures its scale."""
        train, heldout = self._clips()
        vae = train_vae(train, heldout, seed=self.seed, work=self.work / "checkpoints", log=self.log)
        set_scaling_factor(vae, train)
        vae.save_pretrained(self.work / "vae")

    def text(self) -> None:
        """Trains tokenizer and text encoder."""
        tokenizer, encoder, _ = train_text(seed=self.seed, work=self.work / "checkpoints", log=self.log)
        tokenizer.save_pretrained(self.work / "tokenizer")
        encoder.save_pretrained(self.work / "text_encoder")

    def _assemble(self, folder: Path, transformer: CogVideoXTransformer3DModel) -> None:
        from diffusers import AutoencoderKLCogVideoX

        vae = AutoencoderKLCogVideoX.from_pretrained(self.work / "vae")
        tokenizer = T5Tokenizer.from_pretrained(self.work / "tokenizer")
        save_pipeline(
            folder, vae, tokenizer, T5EncoderModel.from_pretrained(self.work / "text_encoder"), transformer
        )

    def records(self) -> None:
        """Computes the features of all clips."""
        self._assemble(self.raw, new_transformer(self.seed))
        cfg, parts, teacher = build_config(self.raw), load_cogvideox(self.raw), self._face_teacher()
        for prefix, clips in zip(("train", "heldout"), self._clips(), strict=True):
            write_records(self._store(), clips, prefix, parts, teacher, cfg.depth.colormap)

    def _face_teacher(self) -> InsightFaceTeacher:
        face = build_config(self.raw).face
        return InsightFaceTeacher(
            self.assets / "face",
            detector_size=face.detector_size,
            min_score=face.min_score,
            min_size=face.min_size,
        )

    def _store(self) -> FeatureStore:
        return FeatureStore(self.work / "store", {"made by": "semrepa.miniature", "seed": self.seed})

    def _ids(self) -> dict[str, list[str]]:
        ids = self._store().ids()
        return {
            "train_ids": [name for name in ids if name.startswith("train")],
            "heldout_ids": [name for name in ids if name.startswith("heldout")][:24],
        }

    def base(self) -> None:
        """Trains the base image-to-video model and ships the complete pipeline folder."""
        trained = train_base(build_config(self.raw), self._store(), self.work / "base", **self._ids())
        self._assemble(self.assets / "cogvideox", CogVideoXTransformer3DModel.from_pretrained(trained))
        shutil.copy(self.work / "base" / "metrics.jsonl", self.log / "base.jsonl")

    def structure(self) -> None:
        """Trains and ships the structure aligner."""
        run_dir = self.work / "structure"
        follow("structure", pretrain_structure(build_config(self.raw), self._store(), run_dir, **self._ids()))
        self._ship(StructureAligner, "structure", "structure_aligner", "structure_aligner")

    def identity(self) -> None:
        """Trains and ships the identity aligners, with and without depth: on portraits, then on clips."""
        cfg, parts = build_config(self.raw), load_cogvideox(self.raw)
        frames, depth = render_portraits(self.work / "portraits", PORTRAITS, workers=os.cpu_count() or 1)
        features = portrait_features(frames, depth, parts, self._face_teacher(), cfg.depth.colormap)
        for name, use_depth in (("identity", True), ("identity_no_depth", False)):
            settings = override(cfg, {"identity.use_depth": use_depth})
            start = train_on_portraits(settings, features, work=self.work / "checkpoints", log=self.log)
            run = pretrain_identity(settings, self._store(), self.work / name, aligner=start, **self._ids())
            follow(name, run)
            self._ship(
                IdentityAligner, name, "identity_aligner", f"identity_aligner{name.removeprefix('identity')}"
            )

    def _ship(
        self, kind: type[StructureAligner | IdentityAligner], run: str, trained: str, shipped: str
    ) -> None:
        model = kind.from_pretrained(self.work / run / trained)
        copy_half(model).save_pretrained(self.assets / shipped)
        shutil.copy(self.work / run / "metrics.jsonl", self.log / f"{run}.jsonl")

    def teachers(self) -> None:
        """Notes in the shipped aligners who their teachers were."""
        made_from = {
            "depth": [EXACT],
            "colormap": build_config(self.raw).depth.colormap,
            "face": [sha256_of_weights("face", self.assets / "face")],
        }
        for shipped in sorted(self.assets.glob("*_aligner*")):
            kind = StructureAligner if shipped.name == "structure_aligner" else IdentityAligner
            aligner = kind.from_config(kind.load_config(shipped))
            record_teachers(aligner, made_from)
            aligner.save_config(shipped)

    def quality(self) -> None:
        """Measures everything that is shipped on held-out people."""
        write_face_quality(self.assets / "face", seed=self.seed)
        write_quality(
            self.assets, self._clips()[1], self._store(), self._ids()["heldout_ids"], self._face_teacher()
        )


PARTS: dict[str, Callable[[Build], None]] = {
    name: getattr(Build, name)
    for name in (
        "clips",
        "detector",
        "recogniser",
        "vae",
        "text",
        "records",
        "structure",
        "identity",
        "base",
        "teachers",
        "quality",
    )
}


def main() -> None:
    """Runs the parts that were asked for, all of them by default."""
    parser = argparse.ArgumentParser(prog="python -m semrepa.miniature", description=__doc__)
    parser.add_argument("--part", choices=PARTS, action="append", help="only this part (may be repeated)")
    parser.add_argument(
        "--work", type=Path, default=Path("runs/miniature"), help="clips, checkpoints, run folders"
    )
    parser.add_argument("--assets", type=Path, default=ASSETS, help="where the shipped weights go")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    torch.set_num_threads(arguments.threads)
    build = Build(arguments.work, arguments.assets, arguments.seed)
    for name in arguments.part or PARTS:
        PARTS[name](build)


if __name__ == "__main__":
    main()
