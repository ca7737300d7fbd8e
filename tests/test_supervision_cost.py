"""The benchmarks of what supervision in latents costs: they count right; starting reads one batch only."""

import time

import pytest
import torch

from benchmarks import memory_vs_vae_decode as memory
from benchmarks import scaling, startup
from semrepa.config import full, mini, override
from semrepa.estimate.gpus import GIB


def test_the_aligner_keeps_what_was_counted_elsewhere():
    case = memory.full_cases()["structure aligner, 1920 x 6"]
    size = memory.kept(case, full().video, torch.bfloat16)
    assert size / GIB == pytest.approx(4.7, abs=0.05)
    assert case.formula / size == pytest.approx(1, abs=0.05)


def test_checkpointing_keeps_less_and_needs_one_block_at_its_peak():
    cfg = override(mini(), {"structure": {"num_layers": 8}})
    case = memory.structure_case(cfg)
    size = memory.kept(case, cfg.video, torch.float32)
    between, peak = memory.checkpointed(case, cfg.video, torch.float32)
    assert 8 * 480 * 128 * 4 < between < size / 4  # the input of each block at least
    assert between < peak < size


@pytest.mark.skipif(not memory.CLEAR.exists(), reason="resident peaks are measured on Linux only")
def test_the_peak_is_that_of_the_second_run():
    taken = [torch.ones(2**26), None]  # freed before the second run, which must not see it

    def run():
        taken.pop(0)

    assert memory.bytes_at_peak(run) < 2**26


def test_growth_is_that_of_powers_and_of_lines():
    sizes = [1, 2, 4, 8]
    assert scaling.exponent(sizes, [3 * size**1.5 for size in sizes]) == pytest.approx(1.5)
    assert scaling.share([0, 2, 4], [10, 12, 14]) == pytest.approx(0.1)


def test_a_step_is_measured_beside_its_formula():
    point = scaling.Point(num_frames=5, layers=1)
    found = scaling.measure(point, torch.device("cpu"))
    assert found.seconds > 0
    assert found.bytes == pytest.approx(found.expected_bytes, rel=0.25)
    told = scaling.table("num_frames", [point, scaling.Point(num_frames=9)], [found, found])
    assert "exponent: time 0.00, by formula 0.00" in told.replace("-0.00", "0.00")


@pytest.mark.parametrize("clips", [6, 40])
def test_starting_reads_one_batch_however_many_clips_there_are(tmp_path, clips):
    startup.make_store(tmp_path, clips)
    found = startup.start(str(tmp_path), time.monotonic())
    assert found["read"] == startup.BATCH + 1, "a batch, and a record whose shapes are checked"
    assert found["looked for"] <= 2 * clips
    assert set(startup.PARTS) < found.keys()
    assert all(found[part] > 0 for part in startup.PARTS)
