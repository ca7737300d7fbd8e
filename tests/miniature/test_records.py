"""Features of rendered clips, written without the detour over video files."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from semrepa import depth as depth_maps
from semrepa.data.store import FeatureStore
from semrepa.miniature.records import write_records
from semrepa.models.cogvideox import encode_prompts
from semrepa.models.latents import encode
from tests.tiny import TEXT_LENGTH


@pytest.mark.parametrize("index", [1, 4])
def test_records_are_the_features_computed_directly(clips, parts, store, teacher, index):
    record = store.read(f"clip{index:05d}")
    frames = torch.from_numpy(clips.frames[index : index + 1])
    depth = torch.from_numpy(clips.depth[index : index + 1].astype(np.float32))
    colors = depth_maps.colorize(depth_maps.normalize(depth, kind="metric"), "inferno")
    prompt = encode_prompts([clips.captions[index]], parts.tokenizer, parts.text_encoder, TEXT_LENGTH)
    faces = teacher(frames[0])
    expected = {
        "latents": encode(parts.vae, frames)[0],
        "depth_latents": encode(parts.vae, colors)[0],
        "depth_range": depth_maps.depth_range(depth, kind="metric")[0],
        "first_frame": frames[0, 0],
        "prompt_embeds": prompt[0],
        "id_embeds": faces.embeds,
        "face_mask": faces.mask,
        "face_boxes": torch.from_numpy(clips.boxes[index]),
    }
    assert record.keys() == expected.keys()
    for name, value in expected.items():
        wanted = value.half() if name.endswith(("latents", "embeds")) else value
        torch.testing.assert_close(record[name], wanted, atol=4e-3, rtol=4e-3, equal_nan=True, msg=name)
    assert record["face_mask"].tolist() == clips.visible[index].tolist()


def test_ids_are_numbered_in_the_order_of_the_clips(clips, store):
    assert store.ids() == [f"clip{index:05d}" for index in range(len(clips.frames))]


def test_what_is_there_is_not_made_again(clips, parts, store, teacher, tmp_path):
    begun = FeatureStore(tmp_path, {"made by": "test"})
    mark = {"first_frame": torch.zeros(3, 1, 1, dtype=torch.uint8)}
    begun.write("clip00001", mark)
    ids = write_records(begun, clips, "clip", parts, teacher, "inferno")
    assert ids == store.ids() == begun.ids()
    assert teacher.asked == len(clips.frames) - 1
    assert begun.read("clip00001").keys() == mark.keys()
    assert torch.equal(begun.read("clip00002")["first_frame"], torch.from_numpy(clips.frames[2, 0]))
    other = replace(clips, frames=np.zeros_like(clips.frames))
    write_records(begun, other, "clip", parts, teacher, "inferno")
    assert teacher.asked == len(clips.frames) - 1
