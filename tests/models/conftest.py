import shutil

import pytest

from tests.official import official_folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A checkpoint in the official format; shared, so read only."""
    return official_folder(tmp_path_factory.mktemp("official"))


@pytest.fixture
def folder(whole, tmp_path):
    """A copy of it, to be damaged."""
    return shutil.copytree(whole, tmp_path / "checkpoint")
