"""Where weights are looked for: what the user said first, then the usual places, by official names."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from huggingface_hub import constants

from semrepa import provenance
from semrepa.config import Config, override, preset
from semrepa.weights.catalogue import INSIGHTFACE, RECOGNISER, catalogue, is_hub_name
from semrepa.weights.kinds import kind_of
from semrepa.weights.look import is_there, pack_at, problem
from semrepa.weights.roles import Network, Role

SHIPPED = "shipped with the package"
"""Place of the mini weights."""
FOLDER_VARIABLE = "SEMREPA_WEIGHTS"
"""Environment variable with the folder of weights, where `weights.folder` names none."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Where a network is, or all that was tried."""

    network: Network
    """What was looked for."""
    path: Path | None = None
    """Where it was found, or where the user says that it is; None: nowhere."""
    place: str = ""
    """What led there: a field, a variable, or a usual place."""
    problem: str = ""
    """What is wrong with what lies there."""
    tried: tuple[tuple[str, str], ...] = ()
    """Each place that was tried before, and what came of it."""
    note: str = ""
    """Why it was not fetched, where that was allowed."""

    @property
    def is_fine(self) -> bool:
        """Whether the network is there and nothing is plainly wrong with it."""
        return self.path is not None and not self.problem


def locate(cfg: Config, role: Role) -> Finding:
    """Look for one network: config field, environment variable, folder of weights, insightface, hub cache.

    What the user named by field or variable is taken or refused, never passed over. What is shipped comes
    before variables and usual places; only `mini` has it.

    Args:
        cfg: resolved config.
        role: which network.

    Returns:
        Where it is, or where it was looked for.
    """
    network = catalogue(cfg)[role]
    if (path := _argument(network)) is not None:
        return _judge(network, network.field, path)
    if (path := _shipped(cfg, network)) is not None:
        return _judge(network, SHIPPED, path)
    if (path := _variable(cfg, network)) is not None:
        return _judge(network, str(network.variable), path)
    tried = [(network.field, _said(network))]
    unset = (network.variable, None if _folder(cfg)[1] else FOLDER_VARIABLE)
    tried += [(name, "not set") for name in unset if name and network.names]
    for place, path in _usual_places(cfg, network):
        found = _judge(network, place, path)
        if found.is_fine and not (unfit := _unfit(cfg, role, path)):
            return replace(found, tried=tuple(tried))
        tried.append((place, f"{path}: {found.problem or unfit}"))
    return Finding(network=network, tried=tuple(tried))


def counted_from(home: Path, cfg: Config) -> Config:
    """Resolve relative paths of weights against a folder, where something is there.

    Args:
        home: the folder.
        cfg: resolved config.

    Returns:
        The config; paths that lead nowhere from that folder are left as they are.
    """
    named = {network.field: network.argument for network in catalogue(cfg).values() if network.argument}
    paths = {field: home / Path(given).expanduser() for field, given in named.items()}
    return override(cfg, {field: str(path) for field, path in paths.items() if is_there(path)})


def hub_folder(repo: str) -> Path:
    """Where the local hub cache has a repository.

    Args:
        repo: `owner/name`.

    Returns:
        The snapshot of the branch `main`, whole or not, else the newest one; where the cache has none, the
        folder that it would be in.
    """
    home = Path(constants.HF_HUB_CACHE) / f"models--{repo.replace('/', '--')}"
    main, snapshots = home / "refs" / "main", home / "snapshots"
    if main.is_file():
        return snapshots / main.read_text(encoding="utf-8").strip()
    known = sorted(snapshots.glob("*"), key=lambda path: path.stat().st_mtime)
    return known[-1] if known else home


def _argument(network: Network) -> Path | None:
    """The path in the config field; a hub name of the model only says which repository to look for."""
    given = network.argument
    if given is None or (network.role == "model" and is_hub_name(given)):
        return None
    return _inside(network, given)


def _shipped(cfg: Config, network: Network) -> Path | None:
    """The mini weights, which count in `mini` only: a full run must never take them by mistake."""
    # The identity aligners answer in the space of the shipped face pack, and are of no use with another one.
    identity = "identity_aligner" if cfg.identity.use_depth else "identity_aligner_no_depth"
    name = {
        "model": "cogvideox",
        "face": "face",
        "structure": "structure_aligner" if cfg.structure.input == "clean" else None,
        "identity": identity if cfg.face.pack is None else None,
    }.get(network.role)
    is_named = network.argument is not None
    return provenance.MINI_ASSETS / name if cfg.preset == "mini" and name and not is_named else None


def _variable(cfg: Config, network: Network) -> Path | None:
    """The path in the environment variable; a hub name that the user chose goes before it."""
    given = os.environ.get(network.variable, "") if network.variable else ""
    usual = catalogue(preset(cfg.preset))[network.role].argument
    return _inside(network, given) if given and network.argument == usual else None


def _inside(network: Network, given: str) -> Path:
    """The path itself, or the file of an official name in it where it is a folder and a file is wanted."""
    path = Path(given).expanduser()
    files = [path / name for name in network.names if network.is_file]
    return next((file for file in files if is_there(file)), path)


def _said(network: Network) -> str:
    if network.argument is None:
        return "not set"
    return f"{network.argument}, which is no folder here and so the name of a repository"


def _folder(cfg: Config) -> tuple[str, str | None]:
    """The folder of weights and who named it."""
    if cfg.weights.folder:
        return "weights.folder", cfg.weights.folder
    return FOLDER_VARIABLE, os.environ.get(FOLDER_VARIABLE)


def _usual_places(cfg: Config, network: Network) -> Iterator[tuple[str, Path]]:
    """Places where downloads usually lie, by official names; a network without such names has none."""
    place, folder = _folder(cfg)
    if folder and network.names:
        paths = [Path(folder).expanduser() / name for name in network.names]
        yield place, next((path for path in paths if is_there(path)), paths[0])
    for place, home in network.places:
        paths = [home / name for name in network.names]
        yield place, next((path for path in paths if is_there(path)), paths[0])
    if network.role == "face":
        yield "insightface", INSIGHTFACE.expanduser() / network.names[0]
    elif network.repo:
        snapshot = hub_folder(network.repo)
        yield "hub cache", snapshot / network.names[0] if network.is_file else snapshot


def _judge(network: Network, place: str, path: Path) -> Finding:
    return Finding(network=network, place=place, path=path, problem=problem(network, path))


def _unfit(cfg: Config, role: Role, path: Path) -> str:
    """Why weights that nobody named are better left alone; empty: they are not."""
    if role == "face" and (name := pack_at(path).recogniser.name) != RECOGNISER:
        return f"has {name} and no {RECOGNISER}, whose embeddings differ; to take it, name it in face.pack"
    if cfg.preset == "full" and kind_of(cfg, role, path) == "mini":
        return "made in the sample world, which does not count in full"
    return ""
