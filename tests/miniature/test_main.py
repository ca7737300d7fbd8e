"""The weight builder's command: its parts with small networks, wired by files as in the real build."""

import json
import runpy
import shutil
import sys
from dataclasses import replace

import pytest
import torch
from diffusers import CogVideoXTransformer3DModel
from miniature.small_clips import PatchTeacher
from safetensors.torch import load_file

from semrepa.config import override
from semrepa.data.store import FeatureStore
from semrepa.miniature import __main__ as command
from semrepa.miniature.clips import HELDOUT_SEED, TRAIN_SEED
from semrepa.models.cogvideox import load_cogvideox
from semrepa.models.identity import IdentityAligner
from semrepa.models.structure import StructureAligner
from semrepa.training.checks import teachers_of
from semrepa.training.log import read_metrics
from semrepa.training.pretrain import new_identity_aligner
from tests.tiny import tiny_text, tiny_transformer, tiny_vae


def call(patch, *arguments):
    patch.setattr(sys, "argv", ["semrepa.miniature", *map(str, arguments), "--threads", "1"])
    command.main()


def test_help_names_every_part(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["x", "--help"])
    with pytest.raises(SystemExit) as end:
        runpy.run_module("semrepa.miniature", run_name="__main__")
    shown = " ".join(capsys.readouterr().out.split())
    assert end.value.code == 0
    assert "usage: python -m semrepa.miniature" in shown
    assert "trains every mini network" in shown
    assert all(part in shown for part in command.PARTS)


def test_an_unknown_part_is_named_with_those_that_there_are(monkeypatch, capsys):
    with pytest.raises(SystemExit) as end:
        call(monkeypatch, "--part", "wheels")
    message = capsys.readouterr().err
    assert end.value.code == 2
    assert "wheels" in message and all(part in message for part in command.PARTS)


@pytest.mark.parametrize("chosen", [(), ("text", "clips")])
def test_parts_run_as_asked_or_all_in_their_order(monkeypatch, tmp_path, chosen):
    ran, everything = [], list(command.PARTS)
    for name in everything:
        monkeypatch.setitem(command.PARTS, name, lambda build, name=name: ran.append((name, build)))
    flags = [word for name in chosen for word in ("--part", name)]
    call(monkeypatch, *flags, "--work", tmp_path / "w", "--assets", tmp_path / "a", "--seed", "3")
    assert [name for name, _ in ran] == list(chosen or everything)
    assert {(b.work, b.assets, b.seed) for _, b in ran} == {(tmp_path / "w", tmp_path / "a", 3)}


class World:
    """Stands for everything that is slow: renderers, long trainings, the face pack."""

    def __init__(self, patch, clips, cfg) -> None:
        self.clips, self.cfg, self.calls = clips, cfg, {}
        self.teacher = PatchTeacher()
        for name in (
            "render_clips",
            "build_detector",
            "build_recogniser",
            "write_face_quality",
            "write_quality",
        ):
            patch.setattr(command, name, self.noting(name))
        for name in ("load_clips", "render_portraits", "train_on_portraits", "train_text", "train_vae"):
            patch.setattr(command, name, self.noting(name, getattr(self, name)))
        patch.setattr(command, "build_config", lambda folder: override(cfg, {"model.weights": str(folder)}))
        patch.setattr(command, "new_transformer", tiny_transformer)
        patch.setattr(command, "sha256_of_weights", lambda role, folder: f"hash of {folder.name}")
        patch.setattr(command.Build, "_face_teacher", lambda build: self.teacher)

    def noting(self, name, answer=lambda *_, **__: None):
        def noted(*args, **settings):
            self.calls.setdefault(name, []).append((args, settings))
            return answer(*args, **settings)

        return noted

    def load_clips(self, folder, *, first_seed, count):
        some = {TRAIN_SEED: slice(0, 3), HELDOUT_SEED: slice(3, 5)}[first_seed]
        return replace(self.clips, **{name: value[some] for name, value in vars(self.clips).items()})

    def render_portraits(self, folder, people, workers):
        frames, depth = torch.from_numpy(self.clips.frames), torch.from_numpy(self.clips.depth).float()
        return frames[:, :1], depth[:, :1]

    def train_vae(self, clips, heldout, *, seed, work, log):
        log.mkdir(parents=True, exist_ok=True)
        return tiny_vae(seed)

    def train_text(self, *, seed, work, log):
        return *tiny_text(seed), 1.0

    def train_on_portraits(self, cfg, features, *, work, log):
        return new_identity_aligner(cfg, features)


@pytest.fixture(scope="module")
def built(clips, small_config, tmp_path_factory):
    """A whole build in two folders."""
    home = tmp_path_factory.mktemp("build")
    again = {f"{stage}.resume": True for stage in ("finetune", "pretrain_structure", "pretrain_identity")}
    cfg = override(small_config, {"loss": {"weight_struct": 0.0, "weight_id": 0.0}, **again})
    with pytest.MonkeyPatch.context() as patch:
        world = World(patch, clips, cfg)
        world.call = lambda *parts: call(
            patch, "--work", home / "work", "--assets", home / "assets", "--seed", "1", *parts
        )
        world.call()
        world.work, world.assets = home / "work", home / "assets"
        yield world


def weights(folder):
    (file,) = folder.glob("*.safetensors")
    return load_file(file)


def assert_halved(shipped, trained):
    assert shipped.keys() == trained.keys()
    assert {value.dtype for value in shipped.values()} == {torch.float16}
    assert all(torch.equal(value, trained[name].half()) for name, value in shipped.items())


def test_what_is_shipped_and_nothing_else(built):
    shipped = {path.name for path in built.assets.iterdir()}
    aligners = {"structure_aligner", "identity_aligner", "identity_aligner_no_depth"}
    assert shipped == {"cogvideox", "logs", *aligners}
    logs = {path.name for path in (built.assets / "logs").iterdir()}
    assert logs == {"base.jsonl", "structure.jsonl", "identity.jsonl", "identity_no_depth.jsonl"}
    for name in ("base", "structure", "identity", "identity_no_depth"):
        log = (built.assets / "logs" / f"{name}.jsonl").read_text()
        assert log == (built.work / name / "metrics.jsonl").read_text()


def test_the_face_pack_and_its_quality_go_to_the_face_folder(built):
    for name in ("build_detector", "build_recogniser", "write_face_quality"):
        (((folder,), settings),) = built.calls[name]
        assert folder == built.assets / "face" and settings["seed"] == 1
    assert built.calls["build_detector"][0][1]["log"] == built.assets / "logs"


def test_the_vae_is_trained_on_training_clips_and_scaled(built):
    ((train, heldout), settings), *more = built.calls["train_vae"]
    assert not more and settings["seed"] == 1
    assert train.captions == built.clips.captions[:3] and heldout.captions == built.clips.captions[3:]
    factor = load_cogvideox(built.assets / "cogvideox", parts=("vae",)).vae.config.scaling_factor
    assert (
        factor == load_cogvideox(built.work / "cogvideox_untrained", parts=("vae",)).vae.config.scaling_factor
    )
    assert factor != tiny_vae().config.scaling_factor


def test_records_keep_training_and_heldout_people_apart(built):
    ids = FeatureStore(built.work / "store").ids()
    assert ids == ["heldout00000", "heldout00001", "train00000", "train00001", "train00002"]
    (args, _) = built.calls["write_quality"][0]
    assert args[0] == built.assets and args[1].captions == built.clips.captions[3:]
    assert args[3] == ids[:2] and args[4] is built.teacher


def test_the_shipped_base_is_the_trained_one(built):
    trained = CogVideoXTransformer3DModel.from_pretrained(built.work / "base" / "transformer").state_dict()
    shipped = weights(built.assets / "cogvideox" / "transformer")
    assert_halved(shipped, trained)
    untrained = weights(built.work / "cogvideox_untrained" / "transformer")
    assert not all(torch.equal(value, untrained[name]) for name, value in shipped.items())
    assert load_cogvideox(built.assets / "cogvideox").text_encoder is not None


def test_the_shipped_aligners_are_the_trained_ones(built):
    structure = StructureAligner.from_pretrained(built.work / "structure" / "structure_aligner")
    assert_halved(weights(built.assets / "structure_aligner"), structure.state_dict())
    for run, use_depth in (("identity", True), ("identity_no_depth", False)):
        name = run.replace("identity", "identity_aligner")
        aligner = IdentityAligner.from_pretrained(built.work / run / "identity_aligner")
        assert_halved(weights(built.assets / name), aligner.state_dict())
        assert IdentityAligner.from_pretrained(built.assets / name).config.use_depth is use_depth
    (_, first), (_, second) = (
        (args[0].identity.use_depth, args) for args, _ in built.calls["train_on_portraits"]
    )
    assert first[1] is second[1], "portraits are encoded once"


def test_the_shipped_aligners_know_their_teachers_and_no_folder_of_the_builder(built):
    known = teachers_of({"depth": ["exact"], "face": ["hash of face"]})
    for name in ("structure_aligner", "identity_aligner", "identity_aligner_no_depth"):
        settings = json.loads((built.assets / name / "config.json").read_text())
        assert settings.get("face_teacher", known["face_teacher"]) == known["face_teacher"]
        assert settings["depth_teacher"] == (None if name.endswith("no_depth") else known["depth_teacher"])
        assert "_name_or_path" not in settings


def test_parts_that_are_done_are_not_done_again(built):
    asked, runs = built.teacher.asked, {n: read_metrics(built.work / n) for n in ("structure", "base")}
    shutil.rmtree(built.assets / "structure_aligner")
    built.call("--part", "records", "--part", "structure", "--part", "base")
    assert built.teacher.asked == asked
    assert {name: read_metrics(built.work / name) for name in runs} == runs
    assert not (built.work / "base" / "previous").exists()
    assert (built.assets / "structure_aligner" / "config.json").is_file(), "shipped from what was trained"
