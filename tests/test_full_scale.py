"""The benchmark of full sizes, at tiny sizes on the CPU: every part runs and is measured."""

import json
import sys

import pytest

from benchmarks import full_scale
from benchmarks.full_scale_parts import PARTS, scale_of
from semrepa.models.blueprints import OFFICIAL


def test_every_part_runs_and_is_measured(capsys):
    assert full_scale.main(["--tiny", "--here", "--repeats", "1"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["part"] for one in found] == list(PARTS)
    for one in found:
        assert one["seconds"] > 0
        assert one["expected seconds"] > 0
        # Tiny networks are mostly what formulas leave out, and a CPU may compute in half of the bytes.
        assert 0.4 < one["bytes"] / one["expected bytes"] < 2.5, one


def test_parts_are_measured_one_by_one_and_shown_beside_the_estimate(monkeypatch, capsys):
    answers = {
        "VAE encode": {"device": "H9", "seconds": 2, "expected seconds": 1, "bytes": 3, "expected bytes": 2},
        "VAE decode": {"error": "does not fit"},
    }
    asked = []

    def apart(name, *, tiny, repeats):
        asked.append((name, tiny, repeats))
        return {"part": name} | answers[name]

    monkeypatch.setattr(full_scale, "measure_apart", apart)
    options = ["--tiny", "--repeats", "5", "--part", "VAE encode", "--part", "VAE decode"]
    assert full_scale.main(options) == 0
    assert asked == [("VAE encode", True, 5), ("VAE decode", True, 5)]
    out = capsys.readouterr().out
    assert "Tiny size on H9" in out
    assert "VAE decode: does not fit" in out
    line = next(line for line in out.splitlines() if line.startswith("VAE encode "))
    assert line.split()[2:5] == ["2.00", "1.00", "2.00"]


def test_a_part_that_fails_is_named_and_fails_the_benchmark(monkeypatch, capsys):
    monkeypatch.setattr(sys, "executable", "false")
    assert full_scale.main(["--tiny", "--part", "VAE encode"]) == 1
    assert "VAE encode: no output" in capsys.readouterr().out


def test_without_a_gpu_it_says_what_to_do(monkeypatch, capsys):
    monkeypatch.setattr(full_scale.torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as stopped:
        full_scale.main([])
    assert stopped.value.code == 2
    assert "--tiny" in capsys.readouterr().err


@pytest.mark.slow
def test_a_part_runs_in_a_process_of_its_own():
    found = full_scale.measure_apart("identity aligner", tiny=True, repeats=1)
    assert found["device"] == "cpu"


def test_full_sizes_are_those_of_the_paper():
    scale = scale_of(tiny=False)
    assert scale.sizes.given["transformer"] is OFFICIAL["CogVideoX-5b-I2V"]
    assert scale.sizes.clip.tokens == 17_776
    assert scale.cfg.finetune.batch_size == 1
    assert scale.cfg.finetune.gradient_checkpointing
