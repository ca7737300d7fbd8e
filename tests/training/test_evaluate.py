"""Means of evaluations."""

import pytest
import torch

from semrepa.training.evaluate import means


def test_every_clip_counts_once_though_the_last_batch_is_smaller():
    for _ in range(10):  # the type checker looks at one batch by chance
        found = means({"loss": [torch.tensor([1.0, 2.0]), torch.tensor([6.0])], "none": []})
        assert found == {"loss": pytest.approx(3)}


def test_levels_weigh_the_same():
    found = means({"loss@100": [torch.tensor([1.0, 1.0])], "loss@900": [torch.tensor([4.0])]})
    assert found == {"loss": 2.5, "loss@100": 1, "loss@900": 4}
