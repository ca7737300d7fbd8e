"""The path of the `full` preset from an official checkpoint to a generated video, on tiny random weights."""

import itertools

import pytest
import torch
from diffusers import CogVideoXImageToVideoPipeline, CogVideoXTransformer3DModel
from tiny import TEXT_LENGTH

from semrepa.config import full, override
from semrepa.data.index import ClipRow
from semrepa.data.people import PersonFilter
from semrepa.data.video import write_video
from semrepa.generate import clip_seed, generate, read_first_frames
from semrepa.models.identity import IdentityAligner
from semrepa.models.structure import StructureAligner
from semrepa.prepare import Teachers, prepare
from semrepa.provenance import Provenance, mini_asset
from semrepa.runtime import autocast
from semrepa.teachers import FaceTrack
from semrepa.training.finetune import finetune
from semrepa.training.pretrain import pretrain_identity, pretrain_structure
from semrepa.training.sources import load_base
from semrepa.weights import check_weights
from tests.official import official_folder

IDS = {"train_ids": ("clip0", "clip1"), "heldout_ids": ("clip1",)}
STAGE = {"steps": 1, "batch_size": 2, "warmup": 0, "eval_every": 1, "checkpoint_every": 1, "lr": 1e-3}
SMALL = {
    "video": {"num_frames": 9, "height": 32, "width": 48},
    "structure": {"num_layers": 1, "num_heads": 2, "head_dim": 16},
    "identity": {"width": 8, "num_blocks": 1},
    "data.trim_text": True,
    "people.detector": "face",
    "generate": {"num_inference_steps": 2, "guidance_scale": 2.0},
    **dict.fromkeys(("pretrain_structure", "pretrain_identity"), STAGE),
    "finetune": {**STAGE, "optimizer": "adamw"},  # bitsandbytes is optional
}


class Waves:
    """A depth teacher whose answer moves."""

    kind = "disparity"
    provenance = Provenance(name="depth", source="test", kind="random")

    def __call__(self, row, frames):
        _, n, _, height, width = frames.shape
        places = torch.linspace(0, 6, width) + torch.arange(n).view(1, n, 1, 1)
        return places.sin().expand(1, n, height, width) + 2


class Everyone:
    """A face teacher that sees the same face on all frames but the first; also a detector of people."""

    provenance = Provenance(name="face", source="test", kind="random")

    def __call__(self, frames, content=None):
        n = len(frames)
        seen = torch.arange(n) > 0
        face = torch.nn.functional.normalize(
            torch.randn(512, generator=torch.Generator().manual_seed(3)), dim=0
        )
        return FaceTrack(
            embeds=face * seen[:, None],
            mask=seen,
            boxes=torch.zeros(n, 4),
            points=torch.zeros(n, 5, 2),
            scores=seen.float(),
            sizes=torch.full((n,), 40.0),
            cuts=torch.zeros(n),
            yaws=torch.zeros(n),
        )

    @staticmethod
    def find_people(frame):
        return torch.tensor([[4.0, 2.0, 40.0, 30.0, 0.9]])


@pytest.fixture(scope="module", params=["1.0", "1.5", "2b"])
def cfg(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    torch.save({}, folder / "video_depth_anything_vitl.pth")
    places = {
        "model.weights": str(official_folder(folder / "cogvideox", request.param)),
        "depth.weights": str(folder / "video_depth_anything_vitl.pth"),
        "face.pack": str(mini_asset("face")),
    }
    return override(full(), SMALL | places)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    draw = torch.Generator().manual_seed(4)
    made = []
    for place, caption in enumerate(("a person walks", "a person waves in red shirt")):
        frames = torch.randint(0, 256, (9, 3, 32, 48), dtype=torch.uint8, generator=draw)
        path = write_video(folder / f"clip{place}.mp4", frames)
        made.append(ClipRow(id=f"clip{place}", path=path, caption=caption))
    return made


@pytest.fixture(scope="module")
def store(cfg, rows, tmp_path_factory):
    """The store as preparation fills it, with stand-ins for the three teachers."""
    people = PersonFilter(detector=Everyone.find_people, looks=1)
    teachers = Teachers(depth=Waves(), face=Everyone(), people=people)
    made = prepare(cfg, rows, tmp_path_factory.mktemp("cache"), teachers=teachers)
    assert made.ids() == ["clip0", "clip1"]
    return made


@pytest.fixture(scope="module")
def aligned(cfg, store, tmp_path_factory):
    """The config with the folders of both aligners, each after one step."""
    folder = tmp_path_factory.mktemp("aligners")
    list(pretrain_structure(cfg, store, folder, **IDS))
    list(pretrain_identity(cfg, store, folder / "id", **IDS))
    places = {
        "structure.weights": str(folder / "structure_aligner"),
        "identity.weights": str(folder / "id" / "identity_aligner"),
    }
    return override(cfg, places)


@pytest.fixture(scope="module")
def finetuned(aligned, store, tmp_path_factory):
    """A run folder, and the log of its one step."""
    run_dir = tmp_path_factory.mktemp("run")
    (log,) = finetune(aligned, store, run_dir, **IDS)
    return run_dir, log


def test_checkpoint_is_located(cfg):
    (record,) = check_weights(cfg, ["model"])
    assert record.source == cfg.model.weights
    assert len(record.sha256) == 64


def test_fine_tuning_uses_both_aligners(finetuned, cfg):
    run_dir, log = finetuned
    assert {"loss_diff", "loss_struct", "loss_id"} <= set(log.parts)
    assert all(value > 0 for name, value in log.parts.items() if not name.startswith("cos_"))
    weighted = log.parts["loss_diff"] + log.parts["weighted_struct"] + log.parts["weighted_id"]
    assert log.loss == pytest.approx(weighted, rel=1e-5)
    assert {"loss_diff@100", "loss_struct@900", "loss_id@500"} <= set(log.eval)
    trained = CogVideoXTransformer3DModel.from_pretrained(run_dir / "transformer")
    base = load_base(cfg).transformer
    assert trained.config.items() >= {k: v for k, v in base.config.items() if not k.startswith("_")}.items()
    moved = {
        name
        for name, value in base.state_dict().items()
        if not torch.equal(value, trained.state_dict()[name])
    }
    assert "proj_out.weight" in moved
    assert "patch_embed.pos_embedding" not in moved


def test_generated_videos_are_those_of_the_stock_pipeline(finetuned, aligned, rows):
    made = generate(aligned, finetuned[0], rows)
    stock = CogVideoXImageToVideoPipeline.from_pretrained(
        aligned.model.weights,
        transformer=CogVideoXTransformer3DModel.from_pretrained(finetuned[0] / "transformer"),
        scheduler=load_base(aligned).noise_scheduler,
        torch_dtype=torch.float32,
    )
    stock.set_progress_bar_config(disable=True)
    for place, row in enumerate(rows):
        with autocast(torch.device("cpu")):
            video = stock(
                image=read_first_frames(aligned, [row]).float() / 255,
                prompt=row.caption,
                num_frames=9,
                height=32,
                width=48,
                num_inference_steps=2,
                guidance_scale=2.0,
                max_sequence_length=TEXT_LENGTH,
                generator=torch.Generator().manual_seed(clip_seed(0, row.id)),
                output_type="pt",
            ).frames[0]
        expected = (video.float() * 255).round().int()
        assert expected.shape == (9, 3, 32, 48)
        assert (made[place].frames.int() - expected).abs().max() <= 1
    base = generate(aligned, None, rows[:1])
    assert not torch.equal(made[0].frames, base[0].frames)


@pytest.mark.parametrize("cfg", ["1.5"], indirect=True)
def test_fine_tuning_goes_on_where_it_stopped(aligned, store, tmp_path):
    cfg = override(aligned, {"finetune.steps": 3})
    whole = [log.loss for log in finetune(cfg, store, tmp_path / "whole", **IDS)]
    stream = finetune(cfg, store, tmp_path / "parts", **IDS)
    begun = [log.loss for log in itertools.islice(stream, 1)]
    stream.close()
    assert begun + [log.loss for log in finetune(cfg, store, tmp_path / "parts", **IDS)] == whole


@pytest.mark.parametrize("cfg", ["1.0"], indirect=True)
def test_sizes_that_the_checkpoint_does_not_know_are_refused(aligned, store, rows, tmp_path):
    for change in ({"video.num_frames": 17}, {"video.height": 48}):
        other = override(aligned, change)
        with pytest.raises(ValueError, match="expected 3x4x6: the learned positions .* 9 frames of 32x48"):
            finetune(other, store, tmp_path, **IDS)
        with pytest.raises(ValueError, match="the learned positions"):
            generate(other, None, rows)


def test_aligners_have_the_sizes_of_the_plan():
    """On the meta device: the structure aligner without text projection, as it reads no captions."""
    cfg = full()
    with torch.device("meta"):
        structure = StructureAligner(
            cfg.structure.num_layers, cfg.structure.num_heads, cfg.structure.head_dim
        )
        identity = {
            use_depth: IdentityAligner(cfg.identity.width, cfg.identity.num_blocks, use_depth=use_depth)
            for use_depth in (True, False)
        }
    assert (structure.config.num_layers, structure.transformer.patch_embed.embed_dim) == (4, 3072)
    assert structure.transformer.config.time_embed_dim == 512
    text_projection = 4096 * 3072
    assert structure.num_parameters() + text_projection == pytest.approx(0.547e9, rel=1e-3)
    assert all(10e6 <= aligner.num_parameters() <= 25e6 for aligner in identity.values())
