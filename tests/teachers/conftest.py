from pathlib import Path

import pytest

from semrepa.teachers.face import InsightFaceTeacher
from tests.teachers.packs import build_pack


@pytest.fixture(scope="session")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_pack(tmp_path_factory.mktemp("packs") / "antelopev2")


@pytest.fixture(scope="session")
def teacher(pack: Path) -> InsightFaceTeacher:
    return InsightFaceTeacher(pack)
