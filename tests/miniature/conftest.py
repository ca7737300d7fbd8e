"""Small clips, their features, and the tiny base model."""

import pytest
from miniature.small_clips import PatchTeacher, paint_clips

from semrepa.data.store import FeatureStore
from semrepa.miniature.clips import ClipSet
from semrepa.miniature.records import write_records
from semrepa.models.cogvideox import CogVideoX, load_cogvideox


@pytest.fixture(scope="session")
def clips() -> ClipSet:
    """Five clips of 9 frames of 32x48."""
    return paint_clips(5)


@pytest.fixture
def teacher() -> PatchTeacher:
    return PatchTeacher()


@pytest.fixture(scope="session")
def parts(tiny_folder) -> CogVideoX:
    return load_cogvideox(tiny_folder)


@pytest.fixture(scope="session")
def store(clips, parts, tmp_path_factory) -> FeatureStore:
    """Features of all clips; read only."""
    made = FeatureStore(tmp_path_factory.mktemp("store"), {"made by": "test"})
    write_records(made, clips, "clip", parts, PatchTeacher(), "inferno")
    return made
