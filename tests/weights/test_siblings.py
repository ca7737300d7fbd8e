"""Aligners of other notebooks are taken only where the config and the package have none."""

from pathlib import Path

import pytest

from semrepa.config import full, mini, override
from semrepa.weights import ROLES, from_report

STRUCTURE = Path("03_structure_aligner", "clean", "structure_aligner")
NOISY = Path("03_structure_aligner", "noisy", "structure_aligner")
DEEP = Path("04_id_aligner", "with_depth", "identity_aligner")
FLAT = Path("04_id_aligner", "without_depth", "identity_aligner")


@pytest.fixture
def report(tmp_path: Path) -> Path:
    for folder in (STRUCTURE, NOISY, DEEP, FLAT):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "config.json").write_text("{}")
    return tmp_path


def test_full_takes_what_notebooks_03_and_04_have_made(report: Path) -> None:
    cfg = from_report(full(), ROLES, report)
    assert (cfg.structure.weights, cfg.identity.weights) == (str(report / STRUCTURE), str(report / DEEP))
    other = override(full(), {"structure.input": "noisy", "identity.use_depth": False})
    cfg = from_report(other, ROLES, report)
    assert (cfg.structure.weights, cfg.identity.weights) == (str(report / NOISY), str(report / FLAT))


def test_what_is_shipped_or_named_goes_first(report: Path) -> None:
    assert from_report(mini(), ROLES, report) == mini()
    named = override(full(), {"structure.weights": "/mine", "identity.weights": "/mine"})
    assert from_report(named, ROLES, report) == named


def test_another_face_pack_needs_another_identity_aligner(report: Path) -> None:
    cfg = from_report(override(mini(), {"face.pack": "/mine"}), ROLES, report)
    assert (cfg.structure.weights, cfg.identity.weights) == (None, str(report / DEEP))


def test_nothing_is_named_that_is_not_wanted_or_not_there(report: Path, tmp_path_factory) -> None:
    assert from_report(full(), ("model", "depth"), report) == full()
    assert from_report(full(), ROLES, tmp_path_factory.mktemp("empty")) == full()
