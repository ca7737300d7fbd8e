"""A store, aligners and a transformer that do not fit are refused before a run starts."""

import logging

import pytest
from training.clips import HELDOUT, TRAIN, record

from semrepa.config import configure, override
from semrepa.data.store import FeatureStore
from semrepa.models.identity import IdentityAligner
from semrepa.models.structure import StructureAligner
from semrepa.prepare.stores import fingerprint
from semrepa.training.alignment import Aligners
from semrepa.training.checks import check_record, check_teachers, teachers_of
from semrepa.training.finetune import finetune
from semrepa.training.pretrain import pretrain_identity, pretrain_structure
from semrepa.training.sources import load_aligners
from semrepa.weights import check_weights

MADE = {"colormap": "inferno", "depth": ["exact", "abc"], "face": ["f0", 0.5]}


@pytest.fixture
def made_by(tmp_path):
    """A function that gives a store of the usual clips with another fingerprint."""

    def build(name, **changes):
        store = FeatureStore(tmp_path / name, {**MADE, **changes})
        for seed, clip in enumerate((*TRAIN, *HELDOUT)):
            store.write(clip, record(seed))
        return store

    return build


@pytest.fixture
def pretrained(cfg, made_by, tmp_path):
    """Both aligners, read back from disk after a step on a store that names its teachers."""
    store, ids = made_by("first"), {"train_ids": TRAIN}
    short = override(cfg, {"pretrain_structure.steps": 1, "pretrain_identity.steps": 1})
    list(pretrain_structure(short, store, tmp_path / "s", **ids))
    list(pretrain_identity(short, store, tmp_path / "i", **ids))
    return Aligners(
        structure=StructureAligner.from_pretrained(tmp_path / "s" / "structure_aligner"),
        identity=IdentityAligner.from_pretrained(tmp_path / "i" / "identity_aligner"),
    )


def test_pretraining_records_the_teachers(pretrained, made_by):
    known = teachers_of(made_by("other").fingerprint)
    assert pretrained.structure.config.depth_teacher == known["depth_teacher"]
    assert pretrained.identity.config.face_teacher == known["face_teacher"]
    assert pretrained.identity.config.colormap == "inferno"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"depth": ["d1", "disparity"]},
            "structure aligner: got depth_teacher '.*expected the same",
        ),
        ({"face": ["f1", 0.5]}, "identity aligner: got face_teacher '.*pretrain an aligner on this store"),
        ({"colormap": "gray"}, "depth.colormap: got 'inferno' with the store .* painted in 'gray'"),
    ],
)
def test_other_teachers_or_colours_are_refused(cfg, parts, pretrained, made_by, tmp_path, change, message):
    run = {"train_ids": TRAIN, "parts": parts, "aligners": pretrained}
    same = made_by("same", face=["f0", 0.9], depth=["exact", "xyz"])
    finetune(cfg, same, tmp_path / "run", **run)  # a threshold, or a newer world, is no other teacher
    with pytest.raises(ValueError, match=message):
        finetune(cfg, made_by("other", **change), tmp_path / "run", **run)


def test_depth_does_not_matter_to_an_aligner_that_reads_none(made_by):
    flat = IdentityAligner(width=8, num_blocks=1, use_depth=False, depth_teacher="x", colormap="gray")
    check_teachers(made_by("store"), Aligners(identity=flat))


def test_aligners_without_a_record_are_accepted_with_a_warning(aligners, made_by, caplog):
    with caplog.at_level(logging.WARNING):
        check_teachers(made_by("store"), aligners)
    assert "structure aligner has no record of its depth_teacher" in caplog.text
    assert "identity aligner has no record of its colormap and depth_teacher and face_teacher" in caplog.text


def test_the_shipped_aligners_have_learned_from_the_teachers_of_mini(tmp_path, caplog):
    cfg = configure("mini")
    made_from = fingerprint(cfg, check_weights(cfg, ("model", "depth", "face", "people")))
    store = FeatureStore(tmp_path, made_from)
    flat = load_aligners(override(cfg, {"identity.use_depth": False}))
    for aligners in (load_aligners(cfg), flat):
        check_teachers(store, aligners)
        assert aligners.identity.config.face_teacher == teachers_of(made_from)["face_teacher"]
    assert caplog.text == ""
    assert flat.identity.config.depth_teacher is None


def test_pretraining_refuses_other_colours(cfg, made_by, tmp_path):
    with pytest.raises(ValueError, match=r"painted in 'magma'; expected the same; set depth\.colormap"):
        pretrain_structure(cfg, made_by("magma", colormap="magma"), tmp_path, train_ids=TRAIN)


def test_records_of_another_shape_are_refused(cfg, store, parts, aligners, tmp_path):
    wide = override(cfg, {"video.width": 64})
    run = {"train_ids": TRAIN, "parts": parts, "aligners": aligners}
    with pytest.raises(
        ValueError, match=r"latents of a in .*: got 3x16x4x6; expected 3x16x4x8 for videos of 9x32x64"
    ):
        finetune(wide, store, tmp_path, **run)
    with pytest.raises(ValueError, match=r"latents of a in .*: got 3x16x4x6; expected 5x16x4x6"):
        pretrain_identity(override(cfg, {"video.num_frames": 17}), store, tmp_path, train_ids=TRAIN)
    small = Aligners(identity=IdentityAligner(width=8, num_blocks=1, embed_dim=8))
    with pytest.raises(ValueError, match=r"id_embeds of a .*: got 9x512; expected 9x8"):
        check_record(cfg, store, TRAIN, aligners=small)
    other = parts.transformer.from_config({**parts.transformer.config, "text_embed_dim": 4})
    with pytest.raises(ValueError, match=r"prompt_embeds of a .*: got 8x16; expected 8x4"):
        check_record(cfg, store, TRAIN, transformer=other)
