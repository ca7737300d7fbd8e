"""Speed of a run: utilisation in closed form, memory that is really taken, a reading that costs nothing."""

import statistics
import subprocess
import sys
import time
from unittest import mock

import numpy as np
import pytest
import torch

from semrepa.config import override
from semrepa.estimate import find_gpu, sizes_of, useful_flops
from semrepa.training import throughput
from semrepa.training.throughput import GIB, Throughput, mfu, peak_memory

CPU = torch.device("cpu")


def test_utilisation_is_work_per_second_over_the_peak():
    assert mfu(989e12, 2, 989e12) == 0.5
    # A full step of CogVideoX-5B, 1078 TFLOP, at the rate that an H100 generates with.
    assert mfu(1078e12, 1078 / 369, 989e12) == pytest.approx(0.373, abs=1e-3)


@pytest.mark.parametrize("peak", [None, float("nan")])
def test_an_unknown_peak_gives_no_utilisation(peak):
    assert mfu(1e12, 1, peak) is None
    assert set(Throughput(flops=1e12, device=CPU, peak=peak).read(1, 1.0)) == {
        "samples_per_second",
        "peak_memory",
    }


def test_a_reading_counts_all_clips_and_the_work_of_one_device():
    found = Throughput(flops=100e12, device=CPU, peak=1000e12, processes=4).read(8, 0.5)
    assert found["samples_per_second"] == 16
    assert found["mfu"] == pytest.approx(8 / 4 * 100 / 0.5 / 1000)


ALONE = """
import torch
from semrepa.training.throughput import peak_memory
before = peak_memory(torch.device("cpu"))
taken = torch.ones(2**28, dtype=torch.uint8)
after = peak_memory(torch.device("cpu"))
del taken
print(before, after, peak_memory(torch.device("cpu")))
"""


def test_memory_of_a_cpu_is_the_most_that_was_resident_in_this_process():
    ballast = np.ones(2 * GIB, dtype=np.uint8)  # `ru_maxrss` would begin with the size of the process above
    found = subprocess.check_output([sys.executable, "-c", ALONE])
    before, after, later = map(int, found.split())
    assert before < len(ballast)
    assert after - before == pytest.approx(2**28, rel=0.1)
    assert later == pytest.approx(after, rel=0.01)


def test_memory_without_proc_is_that_of_getrusage():
    usage = mock.Mock(ru_maxrss=1000)
    with (
        mock.patch.object(throughput.Path, "read_bytes", side_effect=FileNotFoundError),
        mock.patch.object(throughput.resource, "getrusage", return_value=usage),
        mock.patch.object(throughput.sys, "platform", "linux"),
    ):
        assert peak_memory(CPU) == 1000 * 1024


def test_memory_of_a_gpu_is_that_of_the_allocator():
    with mock.patch.object(torch.cuda, "max_memory_allocated", return_value=3 * GIB):
        assert Throughput(flops=1, device=torch.device("cuda")).read(1, 1.0)["peak_memory"] == 3


def test_a_reading_takes_less_than_a_tenth_of_a_millisecond():
    speed = Throughput(flops=1e12, device=CPU, peak=1e15)
    times = []
    for _ in range(50):
        began = time.thread_time()
        speed.read(4, 0.1)
        times.append(time.thread_time() - began)
    assert statistics.median(times) < 1e-4


@pytest.mark.parametrize("mode", ["full", "lora"])
def test_fine_tuning_on_a_known_gpu_has_its_flops_and_peak(mini_config, monkeypatch, mode):
    cfg = override(mini_config, {"finetune.mode": mode})
    monkeypatch.setattr("semrepa.estimate.visible_gpu", lambda: find_gpu("H100"))
    found = throughput.throughput(cfg)
    assert found.peak == 989e12
    assert found.flops == useful_flops(cfg, sizes_of(cfg), lora=mode == "lora")
    assert "mfu" in found.read(4, 1.0)
    assert "mfu" not in throughput.throughput().read(4, 1.0)  # an aligner, whose work is not counted
