"""Means of evaluations."""

from types import SimpleNamespace

import pytest
import torch
from training.clips import TRAIN

from semrepa.training.evaluate import means
from semrepa.training.sources import heldout_batches


def test_every_clip_counts_once_though_the_last_batch_is_smaller():
    for _ in range(10):  # the type checker looks at one batch by chance
        found = means({"loss": [torch.tensor([1.0, 2.0]), torch.tensor([6.0])], "none": []})
        assert found == {"loss": pytest.approx(3)}


def test_levels_weigh_the_same():
    found = means({"loss@100": [torch.tensor([1.0, 1.0])], "loss@900": [torch.tensor([4.0])]})
    assert found == {"loss": 2.5, "loss@100": 1, "loss@900": 4}


@pytest.mark.parametrize("processes", [1, 2, 3, 4, 7])
def test_processes_share_the_heldout_clips_and_stay_in_step(store, monkeypatch, processes):
    counted, numbers = [], []
    for index in range(processes):
        place = SimpleNamespace(num_processes=processes, process_index=index)
        monkeypatch.setattr("semrepa.training.sources.this_process", lambda place=place: place)
        parts = list(heldout_batches(store, TRAIN, 4))
        numbers.append([len(part.batch.ids) for part in parts])
        for part in parts:
            drawn = [torch.rand(1, generator=g).item() for g in part.generators(0)]
            clips = zip(part.batch.ids, part.places, part.counts.tolist(), drawn, strict=True)
            counted += [(name, place, number) for name, place, counts, number in clips if counts]
    assert [name for name, *_ in counted] == list(TRAIN)
    assert [place for _, place, _ in counted] == list(range(len(TRAIN)))
    assert len({number for *_, number in counted}) == len(TRAIN)
    assert all(sizes == numbers[0] for sizes in numbers)
    assert max(numbers[0]) <= max(1, 4 // processes)
