"""Distances of faces: the chosen video is marked with its own numbers; thumbnails where there are faces."""

import numpy as np
import pytest
import torch
from matplotlib.offsetbox import AnnotationBbox

from semrepa.analysis import video_distances
from semrepa.data.store import FeatureStore
from semrepa.ui.explorers import distance_explorer, first_faces
from tests.ui.explorers.test_shell import distances, words

GENERATOR = torch.Generator().manual_seed(0)
EMBEDS = torch.randn(4, 1, 8, generator=GENERATOR) + 0.2 * torch.randn(4, 3, 8, generator=GENERATOR)
SEEN = torch.ones(4, 3, dtype=torch.bool)


def test_videos_of_one_person_are_told_apart_and_stand_side_by_side():
    explorer = distance_explorer({"teacher": EMBEDS}, SEEN, ["b", "a", "b", "c"])
    assert explorer.controls["video"] == ["a", "b #1", "b #2", "c"]


def test_the_chosen_video_is_marked_with_its_own_distances():
    people = ["a", "b", "c", "c"]
    table = video_distances(EMBEDS, SEEN)
    text = words(distance_explorer({"teacher": EMBEDS}, SEEN, people).render("teacher", "c #2"))
    nearest = people[int(table[3, :2].argmin())]
    assert f"c #2: within {table[3, 3]:.3f}" in text
    assert f"to {nearest}, the nearest {table[3, :2].min():.3f}" in text


def test_other_embeddings_give_other_numbers():
    explorer = distances()
    assert explorer.controls["embeddings"] == ["teacher", "aligner"]
    assert words(explorer.render("teacher", "b")) != words(explorer.render("aligner", "b"))


def test_thumbnails_are_where_there_are_faces():
    thumbnails = distances().static().findobj(AnnotationBbox)
    assert len(thumbnails) == 3


def test_a_video_without_a_face_is_left_out_of_the_map():
    seen = SEEN.clone()
    seen[0] = False
    explorer = distance_explorer({"teacher": EMBEDS}, seen, list("abcd"))
    assert explorer.state()["video"] == "b"
    assert "a: within no two faces" in words(explorer.render("teacher", "a"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"face_mask": SEEN & False}, "faces of fewer than two people"),
        ({"identities": "aaaa"}, "faces of fewer than two people"),
        ({"identities": "abc"}, "teacher: 4, face_mask: 4, identities: 3; expected equally many"),
        ({"faces": [None]}, "faces: 1; expected equally many"),
        ({"start": "aligner"}, "start: got 'aligner'; expected one of teacher"),
        (
            {"embeds": {"teacher": EMBEDS[:0]}, "face_mask": SEEN[:0], "identities": ""},
            "expected at least one",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(changes, message):
    given = {"embeds": {"teacher": EMBEDS}, "face_mask": SEEN, "identities": "abcd"} | changes
    with pytest.raises(ValueError, match=message):
        distance_explorer(**given)


class Store(FeatureStore):
    """Three clips: one face inside, one half outside, none."""

    def __init__(self):
        pass

    def read(self, name):
        frame = torch.arange(8 * 10).view(8, 10).expand(3, 8, 10).byte()
        box = {"in": [2.0, 1.0, 6.0, 5.0], "half": [-4.0, 1.0, 3.0, 5.0], "none": [torch.nan] * 4}[name]
        return {"first_frame": frame, "face_boxes": torch.tensor([box, box])}


def test_faces_are_cut_out_of_the_first_frame():
    inside, half, none = first_faces(Store(), ["in", "half", "none"])
    assert inside.shape == (4, 4, 3)
    np.testing.assert_array_equal(inside[0, :, 0], [12, 13, 14, 15])
    assert half.shape == (4, 3, 3)
    assert none is None
