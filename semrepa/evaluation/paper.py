"""What the paper reports, so that it can stand beside our numbers. Source: Tables 1 and 2."""

from dataclasses import dataclass
from typing import NamedTuple


class Column(NamedTuple):
    """A column of Table 1."""

    title: str
    """As the paper has it."""
    score: str
    """Beginning of the name of our score."""
    better: str
    """`up`, `down`, or `truth` where nearer to the true videos' is better."""


COLUMNS = (
    Column("SSIM", "ssim", "up"),
    Column("PSNR", "psnr", "up"),
    Column("LPIPS", "lpips", "down"),
    Column("FID", "fid", "down"),
    Column("CPBD", "cpbd", "truth"),
    Column("Motion Score", "motion", "down"),
    Column("Text Score", "text", "up"),
    Column("ID Score", "id_ref", "up"),
)
"""In the paper's order. CPBD: noise and sharpening raise it, so that the paper's "higher" is not better."""


@dataclass(frozen=True, kw_only=True)
class PaperRow:
    """A row of the paper."""

    model: str
    """As the paper names it."""
    values: tuple[str, ...]
    """As printed, in the order of `COLUMNS`; "-" where there is none."""
    known_as: tuple[str, ...]
    """What a run of this model may be called, in small letters."""
    table: int = 1
    """Number of the table."""


ROWS = tuple(
    PaperRow(model=model, values=tuple(values.split()), known_as=(model.casefold(), *known_as), table=table)
    for model, values, known_as, table in (
        ("GT", "- - - - 0.5347 - 0.2897 0.6465", ("truth",), 1),
        ("VideoComposer", "0.1542 28.21 0.6721 1375.52 0.6444 55.01 0.2685 0.0423", (), 1),
        ("I2VGen-XL", "0.1943 28.66 0.7467 1394.52 0.2075* 67.10 0.2540 0.1492", ("i2vgen_xl",), 1),
        ("DynamiCrafter", "0.3143 27.43 0.4889 2104.16 0.8333 62.81 0.2368 0.0246", (), 1),
        ("SEINE", "0.3424 29.14 0.5275 556.29 0.6218 28.08 0.2879 0.1702", (), 1),
        ("ConsistI2V", "0.7361 31.32 0.2811 924.55 0.4182* 14.83 0.2728 0.0459", (), 1),
        ("SVD", "0.3888 29.60 0.4590 467.95 0.3024* 18.58 0.2778 0.3818", (), 1),
        ("CogVideoX", "0.7482 32.40 0.1972 247.37 0.5839 0.9426 0.2942 0.5087", ("base",), 1),
        ("CogVideoX_F", "0.7512 32.50 0.1968 210.99 0.5839 0.7481 0.2959 0.5098", ("plain", "finetuned"), 2),
        ("SemanticREPA", "0.7502 32.51 0.2011 213.09 0.5817 0.4012 0.2956 0.6339", ("aligned", "ours"), 1),
    )
)
"""Table 1, with the fine-tuned model without alignment of Table 2. A star is the paper's: not reliable."""


def paper_row(arm: str) -> PaperRow | None:
    """The paper's row of a model.

    Args:
        arm: what a run is called.

    Returns:
        The row; None where the paper has none of that name.
    """
    return next((row for row in ROWS if arm.casefold() in row.known_as), None)
