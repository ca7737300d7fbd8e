"""What a notebook needs before it starts, weights and packages in one list."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from semrepa.config import Config, TrainConfig
from semrepa.generate import finetuned_folder
from semrepa.provenance import Provenance
from semrepa.training.optimizer import lacking_package
from semrepa.weights import ROLES, Role, WeightsError, check_weights


def check_needs(
    cfg: Config, roles: Iterable[Role], sections: Iterable[str], report: Path
) -> tuple[Provenance, ...]:
    """Locate all weights of a notebook, and the packages of the optimisers that it will train with.

    Args:
        cfg: resolved config.
        roles: weights that it uses. Whoever uses all of them fine-tunes, unless notebook 06 has done so.
        sections: parts of the config that it is about; those of trainings tell what it trains.
        report: folder with one run folder per notebook.

    Returns:
        The provenance of each set of weights, as `check_weights` gives it.

    Raises:
        WeightsError: something is missing; lists all of it.
    """
    roles = tuple(roles)
    trainings = {name for name in sections if isinstance(getattr(cfg, name), TrainConfig)}
    done = finetuned_folder(report / "06_dit_finetuning" / "aligned").is_dir()
    if set(roles) >= set(ROLES) and not done:
        trainings.add("finetune")
    lacking = list(_lacking(cfg, sorted(trainings)))
    try:
        found = tuple(check_weights(cfg, roles))
    except WeightsError as error:
        raise WeightsError("\n".join([*lacking, str(error)])) from None
    if lacking:
        raise WeightsError("\n".join(lacking))
    return found


def _lacking(cfg: Config, trainings: Iterable[str]) -> Iterator[str]:
    """One block of text for each training whose optimiser is not installed."""
    for name in trainings:
        config = getattr(cfg, name)
        if package := lacking_package(config):
            yield (
                f"package {package}: not installed; {name}.optimizer={config.optimizer} comes from it\n"
                f"  {'get it':<23} pip install {package}\n"
                f"  {'or':<23} {name}.optimizer=adamw, which needs four times the memory for its states\n"
            )
