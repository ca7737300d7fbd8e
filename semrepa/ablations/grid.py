"""The lines of Table 2 as data: what each arm changes, and what the paper reports for it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

BASE = "base"
"""Name of the model that is not fine-tuned."""
PLAIN = "plain"
"""Name of the control: fine-tuned with the diffusion loss alone."""

PAPER_SCORES = ("ssim", "psnr", "lpips", "fid", "cpbd", "motion_score", "text_score", "id_score")
"""Columns of Table 2 in the paper's order. Its PSNR is that of differences wrapped to 8 bits."""
BETTER_LOW = ("lpips", "fid", "motion_score")
"""Those that are better the lower they are; CPBD has an ideal of its own, that of the true videos."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One line of Table 2."""

    name: str
    """Name in folders and on the command line."""
    title: str
    """What it is, in words."""
    weight_struct: float = 0.0
    """Weight of the structure loss."""
    weight_id: float = 0.0
    """Weight of the identity loss."""
    noisy: bool = False
    """Structure loss on latents one sampler step on (Eq. 9), rather than on clean predictions (Eq. 8)."""
    paper: Mapping[str, float]
    """What the paper reports, by the names of `PAPER_SCORES`."""

    @property
    def is_base(self) -> bool:
        """Whether nothing is trained."""
        return self.name == BASE

    @property
    def overrides(self) -> dict[str, Any]:
        """Config values of this arm by dotted name."""
        return {
            "loss.weight_struct": self.weight_struct,
            "loss.weight_id": self.weight_id,
            "structure.input": "noisy" if self.noisy else "clean",
        }


def _paper(*values: float) -> dict[str, float]:
    return dict(zip(PAPER_SCORES, values, strict=True))


ARMS: tuple[Arm, ...] = (
    Arm(
        name=BASE,
        title="not fine-tuned",
        paper=_paper(0.7482, 32.40, 0.1972, 247.37, 0.5839, 0.9426, 0.2942, 0.5087),
    ),
    Arm(
        name=PLAIN,
        title="fine-tuned, no alignment",
        paper=_paper(0.7512, 32.50, 0.1968, 210.99, 0.5839, 0.7481, 0.2959, 0.5098),
    ),
    Arm(
        name="noisy-0.1",
        title="structure, noisy, 0.1",
        weight_struct=0.1,
        noisy=True,
        paper=_paper(0.7521, 32.52, 0.2009, 214.22, 0.5942, 0.5123, 0.2951, 0.5987),
    ),
    Arm(
        name="noisy-0.01",
        title="structure, noisy, 0.01",
        weight_struct=0.01,
        noisy=True,
        paper=_paper(0.7512, 32.51, 0.2019, 212.97, 0.5922, 0.4427, 0.2952, 0.5751),
    ),
    Arm(
        name="clean-0.1",
        title="structure, clean, 0.1",
        weight_struct=0.1,
        paper=_paper(0.7489, 32.47, 0.2026, 209.60, 0.5911, 0.7299, 0.2950, 0.6063),
    ),
    Arm(
        name="clean-0.01",
        title="structure, clean, 0.01",
        weight_struct=0.01,
        paper=_paper(0.7485, 32.52, 0.2026, 212.21, 0.5837, 0.5352, 0.2953, 0.6118),
    ),
    Arm(
        name="id-10",
        title="identity, 10",
        weight_id=10.0,
        paper=_paper(0.7467, 32.44, 0.2056, 226.54, 0.5920, 0.6338, 0.2955, 0.6451),
    ),
    Arm(
        name="id-1",
        title="identity, 1",
        weight_id=1.0,
        paper=_paper(0.7477, 32.49, 0.2045, 219.90, 0.5853, 0.5397, 0.2955, 0.6223),
    ),
    Arm(
        name="both",
        title="both, 0.01 and 1",
        weight_struct=0.01,
        weight_id=1.0,
        paper=_paper(0.7502, 32.51, 0.2011, 213.09, 0.5817, 0.4012, 0.2956, 0.6339),
    ),
)
"""Table 2, line by line. Source: Table 2, Sec. 5.3."""

PAPER_TRUTH = {"cpbd": 0.5347, "text_score": 0.2897, "id_score": 0.6465}
"""What the paper reports for the true videos."""


QUICK = ("base", "plain", "both")
"""Arms that are enough for a look at how it works."""


def chosen(names: Iterable[str] | None = None) -> tuple[Arm, ...]:
    """Choose arms by name.

    Args:
        names: names; None: all.

    Returns:
        The arms in the order of the table.

    Raises:
        ValueError: a name of no arm, or none at all.
    """
    wanted = [arm.name for arm in ARMS] if names is None else list(names)
    known = [arm.name for arm in ARMS]
    if not wanted or (unknown := [name for name in wanted if name not in known]):
        got = repr(unknown[0]) if wanted else "none"
        raise ValueError(f"arms: got {got}; expected some of {', '.join(known)}; see semrepa.ablations.grid")
    return tuple(arm for arm in ARMS if arm.name in wanted)
