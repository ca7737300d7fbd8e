from pathlib import Path

import pytest

from semrepa.config import Config, override
from tests.prepare.room import Room, furnish


@pytest.fixture(scope="module")
def room(small_config: Config, tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Room:
    """Config, rows and cache folder."""
    return furnish(
        tmp_path_factory.mktemp("room"), override(small_config, {"model.weights": str(tiny_folder)})
    )
