"""For all tests here: a machine on which nobody has any weights."""

import pytest
from huggingface_hub import constants

from semrepa.weights.places import FOLDER_VARIABLE

VARIABLES = (
    *("MODEL_WEIGHTS", "DEPTH_WEIGHTS", "FACE_PACK", "PEOPLE_WEIGHTS"),
    *("SVD_WEIGHTS", "I2VGEN_XL_WEIGHTS"),
)


@pytest.fixture(autouse=True)
def empty_home(tmp_path_factory, monkeypatch):
    """Home, caches and hub cache are in a new folder; no variable is set."""
    home = tmp_path_factory.mktemp("home")
    for name in (FOLDER_VARIABLE, *(f"SEMREPA_{name}" for name in VARIABLES)):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    return home
