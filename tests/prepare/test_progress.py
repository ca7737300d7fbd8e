"""What a run says of itself while it goes on."""

import logging
from collections import Counter

import pytest

from semrepa.prepare.progress import Tally, outcomes, span


def found(status: str, reason: str | None = None, **seconds: float) -> dict[str, object]:
    return {"clip_id": "c", "status": status, "reject_reason": reason, "seconds": seconds}


def test_a_line_tells_rate_time_left_by_stage_and_rejects() -> None:
    tally = Tally(40)
    tally.seconds["text"] = 100.0
    for _ in range(6):
        tally.add(found("done", vae=20.0, read=4.0, people=0.001))
    tally.add(found("rejected", "no_person", read=4.0))
    tally.add(found("rejected", "too_short", read=4.0))
    tally.add(found("rejected", "no_person", read=4.0))
    tally.add(found("failed", read=4.0))
    assert tally.line(150.0) == (
        "10 of 40 clips, 4.0 a minute, 8 min left (vae 6 min, read 2 min), "
        "3 left out (no_person 2, too_short 1), 1 failed, to be tried again"
    )
    report = tally.report()
    assert (report["written"], report["rejected"], report["failed"]) == (6, 3, 1)
    assert report["reasons"] == {"no_person": 2, "too_short": 1}
    assert report["seconds"] == pytest.approx({"text": 100.0, "vae": 120.0, "read": 40.0, "people": 0.006})


def test_lines_are_few_and_there_is_one_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "semrepa.prepare.progress")
    rare = Tally(3, "rank7", every=3600)
    for _ in range(3):
        rare.add(found("done"))
    assert [line.split(",")[0] for line in caplog.messages] == ["rank7: 3 of 3 clips"]
    often = Tally(3, every=0)
    for _ in range(2):
        often.add(found("done"))
    assert [line.split(",")[0] for line in caplog.messages[1:]] == ["1 of 3 clips", "2 of 3 clips"]


def test_no_clip_yet_is_no_division_by_zero() -> None:
    assert Tally(3).line(0.0).startswith("0 of 3 clips, 0.0 a minute")


def test_nothing_left_out_is_said_too() -> None:
    assert outcomes(Counter(), 0) == ["0 left out (none)"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (5400, "1.5 h"), (200_000, "2.3 d")],
)
def test_spans_are_said_in_the_unit_that_fits(seconds: float, text: str) -> None:
    assert span(seconds) == text
