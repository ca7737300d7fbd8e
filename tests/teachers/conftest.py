from pathlib import Path

import pytest

from semrepa.teachers.face import InsightFaceTeacher
from tests.teachers.packs import write_pack


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pack(tmp_path_factory.mktemp("packs") / "toy")


@pytest.fixture(scope="session")
def teacher(pack: Path) -> InsightFaceTeacher:
    return InsightFaceTeacher(pack, detector_size=(192, 128))
