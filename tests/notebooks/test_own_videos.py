"""Videos of one's own: an index, a face pack, a person detector and Video Depth Anything, by overrides only.

Made-up faces on ordinary mp4 files take the place of people, a pack and an exported detector of the official
layout that of insightface and YOLOv8, and random numbers those of the depth weights.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from semrepa.data.video import write_video
from semrepa.models.video_depth_anything import VideoDepthAnything
from tests.notebooks.runners import finish, start
from tests.teachers.packs import blank, build_pack, draw_face
from tests.teachers.yolo import RED, write_yolo

NAMES = [
    "01_data_curation",
    "02_depth_colorization",
    "03_structure_aligner",
    "04_id_aligner",
    "05_id_distance_analysis",
]
BRIEF = {"steps": 2, "batch_size": 2, "warmup": 0, "eval_every": 2, "checkpoint_every": 2}
TRAININGS = ("pretrain_structure", "pretrain_identity")
OVERRIDES = {
    "video.num_frames": 9,
    "data.extra_train": 0,
    "data.extra_heldout": 0,
    "depth.teacher": "video_depth_anything",
    "depth.variant": "vits",
    "depth.input_size": 56,
    "people.detector": "yolov8",
    **{f"{training}.{name}": value for training in TRAININGS for name, value in BRIEF.items()},
}

pytestmark = pytest.mark.slow


def film(path: Path, person: int, frames: int = 40) -> Path:
    """A clip at 25 frames per second in which a made-up face drifts over a dull wall with a shadow."""
    wall = blank(256, 384)
    wall[:, :, :150] -= 25
    wall[:, 196:, :60] = torch.tensor(RED, dtype=torch.uint8)[
        :, None, None
    ]  # what the detector takes for people
    shots = [draw_face(wall.clone(), person, 150 + 2 * k, 110, scale=1.4) for k in range(frames)]
    return write_video(path, np.stack([shot.numpy() for shot in shots]), fps=25, crf=10)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of the notebooks; beside it lie the user's videos and weights."""
    folder = tmp_path_factory.mktemp("own")
    lines = [
        {"path": film(folder / f"video {person}.mp4", person).name, "id": f"clip{person}", "split": split}
        for person, split in enumerate(("train", "train", "train", "heldout", "heldout"))
    ]
    index = folder / "index.jsonl"
    index.write_text("".join(json.dumps(line | {"caption": "a person walks"}) + "\n" for line in lines))
    torch.manual_seed(0)
    depth = VideoDepthAnything("vits").state_dict()
    depth["head.scratch.output_conv2.2.bias"] += 1
    torch.save(depth, folder / "video_depth_anything_vits.pth")
    own = {
        "data.index": index,
        "depth.weights": folder / "video_depth_anything_vits.pth",
        "face.pack": build_pack(folder / "antelopev2"),
        "people.weights": write_yolo(folder / "yolov8n.onnx"),
    }
    options = [f"--override={name}={value}" for name, value in (OVERRIDES | own).items()]
    names = [f"notebooks/{name}.ipynb" for name in NAMES]
    log, arguments = folder / "runner.log", [*names, "--run-dir", str(folder / "report"), *options]
    running = {log: start(log, arguments, SEMREPA_CACHE=str(folder / "cache"))}
    finish(running, seconds=900)
    return folder / "report"


@pytest.mark.parametrize("name", NAMES)
def test_own_videos_go_through(report, name):
    run = json.loads((report / name / "run.json").read_text())
    kinds = {record["name"]: record["kind"] for record in run["provenance"]}
    assert run["status"] == "ok"
    assert [kinds[name] for name in ("model", "depth", "face", "people")] == [
        "mini",
        "real",
        "random",
        "random",
    ]
    assert run["kind"] == "random"


def test_all_clips_are_kept_and_all_faces_found(report):
    metrics = json.loads((report / "01_data_curation" / "run.json").read_text())["metrics"]
    assert (metrics["clips_for_training"], metrics["clips_held_out"]) == (3, 2)


def test_distances_are_of_the_aligners_trained_on_these_faces(report):
    run = json.loads((report / "05_id_distance_analysis" / "run.json").read_text())
    used = [Path(record["source"]).parts[-3:] for record in run["provenance"] if record["name"] == "identity"]
    trained = [("04_id_aligner", kind, "identity_aligner") for kind in ("with_depth", "without_depth")]
    assert used == trained
    assert run["metrics"]["auc_face_teacher"] == 1
