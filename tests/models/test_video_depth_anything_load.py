"""Loading the weights of Video Depth Anything: files of the published format, and files that are not."""

import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from semrepa.models.video_depth_anything import VideoDepthAnything, load_video_depth_anything
from tests.models.vda_oracle import randomised

NAME = "video_depth_anything_vits.pth"


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return randomised().state_dict()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / NAME


class Shell:
    """What a harmful pickle looks like."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def refused(file: Path, *parts: str) -> str:
    """The message with which a file is refused; it names the file."""
    with pytest.raises(ValueError, match="Video Depth Anything weights") as caught:
        load_video_depth_anything(file, "mini")
    message = str(caught.value)
    assert [part for part in (str(file), *parts) if part not in message] == []
    return message


@pytest.mark.parametrize("legacy", [False, True])
def test_a_bare_dictionary_of_tensors_loads(file: Path, weights: dict[str, Tensor], legacy: bool) -> None:
    torch.save(weights, file, _use_new_zipfile_serialization=not legacy)
    model = load_video_depth_anything(file, "mini", metric=True)
    assert model.metric
    assert not model.training
    assert not any(value.requires_grad for value in model.parameters())
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    frames = torch.randn(1, 2, 3, 28, 28)
    assert torch.equal(model(frames), randomised()(frames))


def test_safetensors_load_whatever_their_name(file: Path, weights: dict[str, Tensor]) -> None:
    save_file(weights, file)
    found = load_video_depth_anything(file, "mini").state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in found.items())


def test_the_largest_variants_are_made_without_filling_them_first(file: Path) -> None:
    with torch.device("meta"):
        names = VideoDepthAnything("vits").state_dict()
    torch.save({name: torch.full(x.shape, 0.5, dtype=torch.float16) for name, x in names.items()}, file)
    model = load_video_depth_anything(file, "vits")
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
    assert {value.device.type for value in model.state_dict().values()} == {"cpu"}
    half = load_video_depth_anything(file, "vits", dtype=torch.bfloat16)
    assert half.precision is torch.bfloat16


def test_missing_unknown_and_misshapen_tensors_are_named(file: Path, weights: dict[str, Tensor]) -> None:
    broken = dict(weights)
    gone = [name for name in broken if ".norm1." in name]
    for name in gone:
        del broken[name]
    broken["head.extra"] = torch.zeros(1)
    broken["head.scratch.output_conv1.bias"] = torch.zeros(5)
    torch.save(broken, file)
    message = refused(
        file,
        f"{len(gone)} missing: pretrained.blocks.0.norm1.weight, pretrained.blocks.0.norm1.bias",
        f"and {len(gone) - 4} more",
        "1 unknown: head.extra",
        "1 of another shape: head.scratch.output_conv1.bias (5,) instead of (16,)",
    )
    assert len(message) < 1000


def test_another_variant_under_the_right_name_is_recognised(file: Path) -> None:
    with torch.device("meta"):
        names = VideoDepthAnything("vits").state_dict()
    torch.save({name: torch.zeros(x.shape, dtype=torch.float16) for name, x in names.items()}, file)
    refused(file, "got what looks like Video Depth Anything vits; expected Video Depth Anything mini")


def test_weights_for_single_pictures_are_recognised(file: Path, weights: dict[str, Tensor]) -> None:
    pictures = {
        name.replace("head.", "depth_head."): value for name, value in weights.items() if "motion" not in name
    }
    torch.save(pictures, file)
    refused(file, "got Depth Anything for single pictures; expected Video Depth Anything mini")


@pytest.mark.parametrize(
    ("wrap", "outline"),
    [
        (lambda w: {"state_dict": w}, "a dictionary with state_dict: OrderedDict"),
        (lambda w: list(w.values()), "a list"),
        (lambda w: w | {"epoch": 3}, "epoch: int"),
        (lambda w: {}, "0 tensors of an unknown network"),
    ],
)
def test_other_contents_are_described(file: Path, weights, wrap, outline: str) -> None:
    content = wrap(dict(list(weights.items())[:2])) if "epoch" in outline else wrap(weights)
    torch.save(content, file)
    refused(file, f"got {outline}" if "epoch" not in outline else outline)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("share", [0.0001, 0.5, 0.99])
def test_truncated_files_are_refused(file: Path, weights, share: float, legacy: bool) -> None:
    torch.save(weights, file, _use_new_zipfile_serialization=not legacy)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    refused(file, "damaged or cut short", "fetch it again")


def test_truncated_safetensors_are_refused(file: Path, weights: dict[str, Tensor]) -> None:
    save_file(weights, file)
    file.write_bytes(file.read_bytes()[:-100])
    refused(file, "damaged or cut short", "fetch it again")


@pytest.mark.parametrize("form", ["torch", "legacy", "pickle"])
def test_code_in_a_pickle_is_not_run(file: Path, weights, form: str) -> None:
    mark = file.parent / "it_ran"
    if form == "pickle":
        file.write_bytes(pickle.dumps({"extra": Shell(mark)}, protocol=2))
    else:
        content = {**weights, "extra": Shell(mark)}
        torch.save(content, file, _use_new_zipfile_serialization=form == "torch")
    assert "weights_only" not in refused(file, "code or objects in it (posix.mkdir)", "it was not run")
    file.write_bytes(pickle.dumps({"extra": Shell(mark)}))
    refused(file, "not readable by torch")
    assert not mark.exists()
    pickle.loads(pickle.dumps(Shell(mark)))
    assert mark.exists()  # it would have


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"<!DOCTYPE html><html>not found</html>", "a web page"),
        (b"\n <html lang=en>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 116\n", "a git-lfs pointer"),
        (b"", "an empty file"),
    ],
)
def test_pages_and_pointers_are_recognised(file: Path, content: bytes, kind: str) -> None:
    file.write_bytes(content)
    refused(file, f"got {kind} ({len(content)} bytes)", "fetch it again")


def test_noise_is_refused(file: Path) -> None:
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        noise = bytes(torch.randint(0, 256, (300,), generator=generator).tolist())
        file.write_bytes(noise)
        refused(file)
        file.write_bytes(b"\x80\x02" + noise)
        refused(file)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_numbers_that_are_not_finite_are_refused(file: Path, weights, value: float) -> None:
    broken = {name: x.clone() for name, x in weights.items()}
    broken["pretrained.norm.bias"][3] = value
    torch.save(broken, file)
    refused(file, "not finite numbers: pretrained.norm.bias")
    broken["pretrained.norm.bias"] = torch.zeros(48, dtype=torch.int64)
    torch.save(broken, file)
    refused(file, "not finite numbers: pretrained.norm.bias")


def test_what_is_no_file_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="got nothing there; expected the file of weights"):
        load_video_depth_anything(tmp_path / NAME, "mini")
    with pytest.raises(FileNotFoundError, match="got a folder there"):
        load_video_depth_anything(tmp_path, "mini")


def test_files_that_may_not_be_read_are_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_bytes(b"x")

    def locked(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", locked)
    refused(file, "cannot be read (Permission denied)")
