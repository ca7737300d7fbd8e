"""Clips divided among processes: each falls to exactly one, whoever asks, whatever else is in the index."""

from pathlib import Path

import pytest

from semrepa.data.index import ClipRow
from semrepa.prepare.shares import Share, own_gpu

ROWS = [ClipRow(id=f"clip{k}", path=Path("a.mp4"), caption="") for k in range(300)]


@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_every_clip_falls_to_one_process(world):
    shares = [Share(rank, world).of(ROWS) for rank in range(world)]
    assert sorted((row.id for share in shares for row in share), key=lambda name: int(name[4:])) == [
        row.id for row in ROWS
    ]
    assert min(map(len, shares)) > 200 / world


def test_other_clips_do_not_move_a_clip():
    few = Share(1, 3).of(ROWS[100:200])
    assert few == [row for row in Share(1, 3).of(ROWS) if row in ROWS[100:200]]


@pytest.mark.parametrize("counts", [(1, 1, 1), (2, 3, 4)])
def test_a_share_can_be_divided_differently_on_every_machine(counts):
    parts = [Share(rank, 3).part(k, count) for rank, count in enumerate(counts) for k in range(count)]
    assert sorted(row.id for part in parts for row in part.of(ROWS)) == sorted(row.id for row in ROWS)
    whole = {row.id for row in Share(1, 3).of(ROWS)}
    assert all(row.id in whole for k in range(4) for row in Share(1, 3).part(k, 4).of(ROWS))


@pytest.mark.parametrize(
    ("environment", "share"),
    [
        ({"RANK": "2", "WORLD_SIZE": "4"}, (2, 4)),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, (0, 8)),
        ({"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_COUNT": "6"}, (5, 6)),
        ({"RANK": "1", "WORLD_SIZE": "2", "SLURM_PROCID": "0", "SLURM_NTASKS": "1"}, (1, 2)),
    ],
)
def test_launchers_say_who_a_process_is(environment, share):
    assert Share.of_this_process(environment) == share


def test_no_launcher_is_said_plainly():
    with pytest.raises(ValueError, match=r"RANK and WORLD_SIZE, or SLURM_PROCID.*start with a launcher"):
        Share.of_this_process({"RANK": "1"})


@pytest.mark.parametrize("text", ["", "1", "2/2", "-1/2", "a/b", "0/0", "1.0/2"])
def test_wrong_shares_are_refused(text):
    with pytest.raises(ValueError, match=f"got '{text}'; expected rank/processes"):
        Share.read(text)


def test_processes_take_the_gpus_in_turns():
    assert [own_gpu(rank, 2, None)["CUDA_VISIBLE_DEVICES"] for rank in range(3)] == ["0", "1", "0"]
    assert own_gpu(1, 2, "4,7") == {"CUDA_VISIBLE_DEVICES": "7"}
    assert own_gpu(1, 1, "4") == own_gpu(0, 0, None) == {}
