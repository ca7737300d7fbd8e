"""An estimate as text, on the command line and as a picture."""

import re

import pytest

from semrepa.config import full, mini, override
from semrepa.estimate import estimate, summary, tables
from semrepa.estimate.__main__ import main


def test_tables_are_aligned_and_name_their_units(at_scale):
    text = summary(at_scale)
    for title, rows in tables(at_scale).items():
        assert title in text
        assert len({tuple(row) for row in rows}) == 1
    lines = text.splitlines()
    head = next(line for line in lines if line.startswith("stage") and "TFLOP" in line)
    row = next(line for line in lines if "transformer, backward" in line)
    assert row.index("746") + len("746") == head.index("TFLOP") + len("TFLOP")  # numbers end together
    assert row.index("transformer") == head.index("part")  # texts begin together
    assert "in GiB" in text
    assert "TB for 730,000 clips" in text
    kept = estimate(override(full(), {"finetune.gradient_checkpointing": False}), clips=1, gpu="A100")
    assert "warning: fine-tuning" in summary(kept)


def test_small_runs_are_told_in_small_units():
    found = tables(estimate(mini(), clips=70, gpu="cpu"))
    assert "Memory of the process in MiB" in found
    work = next(rows for title, rows in found.items() if title.startswith("Work"))
    assert "GFLOP" in work[0]
    numbers = [text for rows in found.values() for row in rows for text in row.values()]
    assert not any(text in ("0", "0.0", "nan", "inf") for text in numbers)


def test_command_line_prints_the_summary(capsys):
    main(["--preset", "mini", "--gpu", "cpu", "--clips", "5", "-o", "finetune.batch_size=2"])
    out = capsys.readouterr().out
    assert out.startswith("Preset mini, 5 clips, 1 x cpu")
    assert re.search(r"^fine-tuning +120 ", out, flags=re.M)  # 60 steps of 2 clips


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gpu", "H900"], "gpu: got 'H900'"),
        (["--preset", "huge"], "preset: got 'huge'"),
        (["-o", "finetune.batch_sice=8"], "did you mean finetune.batch_size"),
        (["-o", "finetune.batch_size=eight"], "expected a whole number"),
        (["--clips", "0"], "clips: got 0"),
        (["--preset", "full", "-o", "model.weights=made/up"], "whose sizes are known"),
    ],
)
def test_wrong_names_end_with_one_line_and_exit_code_2(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
