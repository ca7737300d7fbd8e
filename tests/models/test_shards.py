"""Weight files are all there, whole, no pickles, and of the network, or their loading is refused by name."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from semrepa.models.cogvideox import load_cogvideox
from semrepa.models.shards import read_shapes, weight_files


def shards(folder, part="transformer"):
    return sorted((folder / part).glob("*.safetensors"))


def test_names_and_shapes_are_read_from_the_header_alone(folder):
    for file in shards(folder):
        stored = load_file(file)
        assert read_shapes(file) == {name: tuple(value.shape) for name, value in stored.items()}


def test_all_shards_of_the_index_are_found(folder):
    files = weight_files(folder / "transformer", "diffusion_pytorch_model")
    assert files == shards(folder)
    assert len(files) > 1
    assert len(shards(folder, "text_encoder")) > 1


@pytest.mark.parametrize(
    ("part", "stem"),
    [
        ("transformer", "diffusion_pytorch_model"),
        ("text_encoder", "model"),
        ("vae", "diffusion_pytorch_model"),
    ],
)
def test_pickles_are_never_loaded(folder, part, stem):
    for file in (folder / part).glob(f"{stem}*"):
        file.unlink()
    (folder / part / "pytorch_model.bin").write_bytes(b"a pickle")
    expected = rf"{part} with only pytorch_model\.bin: pickles.*never loaded; expected {stem}\.safetensors"
    with pytest.raises(FileNotFoundError, match=expected):
        load_cogvideox(folder, parts=(part,))


def test_folder_without_weights_is_named(folder):
    (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"vae with no weights; expected diffusion_pytorch_model\.saf"
    ):
        load_cogvideox(folder, parts=("vae",))


@pytest.mark.parametrize("part", ["transformer", "text_encoder"])
def test_missing_shard_is_named(folder, part):
    gone = shards(folder, part)[1]
    gone.unlink()
    with pytest.raises(FileNotFoundError, match=f"{part} without {gone.name}; expected all"):
        load_cogvideox(folder, parts=(part,))


@pytest.mark.parametrize("part", ["transformer", "text_encoder", "vae"])
@pytest.mark.parametrize("kept", [0.5, 0.01, 0])
def test_cut_file_is_named(folder, part, kept):
    file = shards(folder, part)[-1]
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(ValueError, match=rf"{file.name}: got \d+ bytes.*download it again"):
        load_cogvideox(folder, parts=(part,))


def test_another_file_under_the_right_name_is_named(folder):
    file = shards(folder, "vae")[0]
    file.write_bytes(b"<!doctype html><title>Access denied</title>" * 100)
    with pytest.raises(ValueError, match=f"{file.name}: got 4300 bytes that do not begin as"):
        load_cogvideox(folder, parts=("vae",))


def test_unreadable_index_is_named(folder):
    index = folder / "transformer" / "diffusion_pytorch_model.safetensors.index.json"
    for content in ("{", "[]", json.dumps({"weight_map": None})):
        index.write_text(content)
        with pytest.raises(ValueError, match=r"index\.json: got an index that cannot be read"):
            load_cogvideox(folder, parts=("transformer",))


@pytest.mark.parametrize("part", ["transformer", "text_encoder", "vae"])
def test_other_tensors_than_the_networks_are_named(folder, part):
    file = shards(folder, part)[0]
    tensors = load_file(file)
    first, second = sorted(name for name in tensors if tensors[name].ndim == 2 or part == "vae")[:2]
    del tensors[first]
    tensors[second] = torch.zeros(3, 5)
    tensors["stranger"] = torch.zeros(1)
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match="other weights than its config.json describes") as error:
        load_cogvideox(folder, parts=(part,))
    lines = {line.strip() for line in str(error.value).splitlines()[1:]}
    assert f"{first}: not there" in lines
    assert "stranger: not part of the network" in lines
    assert any(line.startswith(f"{second}: shape (3, 5), expected (") for line in lines)


def test_second_name_of_the_text_embedding_may_be_left_out_or_given(folder):
    known = load_cogvideox(folder, parts=("text_encoder",)).text_encoder.shared.weight
    file = next(file for file in shards(folder, "text_encoder") if "shared.weight" in read_shapes(file))
    tensors = load_file(file)
    tensors["encoder.embed_tokens.weight"] = tensors["shared.weight"].clone()
    save_file(tensors, file, metadata={"format": "pt"})
    again = load_cogvideox(folder, parts=("text_encoder",)).text_encoder
    assert torch.equal(again.encoder.embed_tokens.weight, known)


@pytest.mark.parametrize("name", ["spiece.model", "tokenizer.json"])
@pytest.mark.parametrize("content", [b"", b"<!doctype html>", None])
def test_damaged_vocabulary_is_named(folder, name, content):
    file = folder / "tokenizer" / name
    if name == "tokenizer.json":
        load_cogvideox(folder, parts=("tokenizer",)).tokenizer.save_pretrained(file.parent)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(ValueError, match=rf"{name}: got \d+ bytes that are no vocabulary"):
        load_cogvideox(folder, parts=("tokenizer",))
