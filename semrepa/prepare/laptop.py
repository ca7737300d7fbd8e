"""A Ray cluster to work on: one on this machine for the time of a run, or one that is there already."""

import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

OBJECT_STORE = 100_000_000
"""Bytes for what travels between processes: rows and results, never frames."""
START_SECONDS = 600
"""How long the daemons may take to start; on a busy machine Ray's own limit is too short."""
CONNECT_SECONDS = 10.0
"""How long a cluster may take to answer."""


def ray_package() -> ModuleType:
    """Ray, which is an optional part of the installation.

    Returns:
        The package.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    try:
        ray = import_module("ray")
        import_module("ray.data")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"got no package ray ({error}); expected ray with its data part for this runner; "
            'install it with pip install "ray[data]>=2.50,<3", or use --runner local or ranks'
        ) from error
    return ray


@contextmanager
def cluster(workers: int, address: str | None = None) -> Iterator[ModuleType]:
    """Be in a Ray cluster.

    One that this process has joined before is used and left alone.

    Args:
        workers: processes that are to find room in a cluster of this machine.
        address: "auto" or host:port of a running cluster, which goes on afterwards; None starts one on this
            machine and ends it again, also after an error.

    Yields:
        Ray, which has joined the cluster.

    Raises:
        ModuleNotFoundError: Ray is not installed.
        ConnectionError: nothing answers at the address.
        ValueError: that is no address, or this process is in a cluster already.
    """
    if address not in (None, "auto"):
        _check_answers(address)
    with _environment(_settings(workers) if address is None else _QUIET):
        ray = ray_package()
        with _errors_only(), _handler_kept():
            if ray.is_initialized() and address is None:
                yield ray
            else:
                with _started(ray, workers) if address is None else _joined(ray, address):
                    yield ray


@contextmanager
def _started(ray: ModuleType, workers: int) -> Iterator[None]:
    """A cluster that only this machine can reach, with files in a folder that goes with it."""
    # Paths of sockets must be short, which the usual temporary folder of macOS is not.
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp" if Path("/tmp").is_dir() else None)
    try:
        with _ports_told():
            ray.init(
                "local",
                num_cpus=workers + 1,
                object_store_memory=OBJECT_STORE,
                include_dashboard=False,
                _node_ip_address="127.0.0.1",
                _temp_dir=folder,
                **_SILENT,
            )
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _ports_told() -> Iterator[None]:
    """Tell Ray's daemons their ports.

    One of them ends when it has waited for half a minute for ports that others choose for themselves, which
    take longer to start on a busy machine. `ray.init` has no way to tell them.
    """
    parameters = import_module("ray._private.parameter")
    names = (
        "metrics_agent_port",
        "metrics_export_port",
        "dashboard_agent_listen_port",
        "runtime_env_agent_port",
    )
    with ExitStack() as held:
        servers = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in names]
        ports = {name: server.getsockname()[1] for name, server in zip(names, servers, strict=True)}
    plain = parameters.RayParams
    parameters.RayParams = lambda **given: plain(**{**given, **ports})
    try:
        yield
    finally:
        parameters.RayParams = plain


@contextmanager
def _joined(ray: ModuleType, address: str) -> Iterator[None]:
    if ray.is_initialized():
        raise ValueError(
            f"got address {address!r} in a process that is in a Ray cluster already; expected none; leave it "
            "out, or call ray.shutdown() before"
        )
    try:
        ray.init(address, **_SILENT)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConnectionError(_unreachable(address, error)) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Refuse an address at which nothing listens; Ray itself would try for minutes and end the process."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"got address {address!r}; expected auto or host:port, such as 10.0.0.5:6379")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise ConnectionError(_unreachable(address, error)) from error


def _unreachable(address: str, error: Exception) -> str:
    return (
        f"got no Ray cluster at {address} ({str(error).splitlines()[0]}); expected a running one; start it "
        "with ray start --head, or leave the address out to use this machine alone"
    )


_SILENT = {"configure_logging": False, "log_to_driver": False, "logging_level": logging.ERROR}
_QUIET = {
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DATA_LOG_LEVEL": "CRITICAL",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def _settings(workers: int) -> dict[str, str]:
    """Environment of a cluster of this machine; its workers find the packages that this process finds."""
    paths = dict.fromkeys(filter(None, [*sys.path, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]))
    return _QUIET | {
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers))),
        "PYTHONPATH": os.pathsep.join(paths),
        "RAY_AUTH_TOKEN": os.environ.get("RAY_AUTH_TOKEN", _token()),
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # or some daemons listen to other machines all the same
        "RAY_agent_register_timeout_ms": str(1000 * START_SECONDS),
        "RAY_gcs_server_port_wait_time_s": str(START_SECONDS),
        "RAY_raylet_start_wait_time_s": str(START_SECONDS),
    }


@cache
def _token() -> str:
    """A password for clusters of this process; without one, Ray writes one into the user's home."""
    return secrets.token_hex(32)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a while."""
    before = {name: os.environ.get(name) for name in (*values, "RAY_AUTH_MODE")}  # Ray sets the last one
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@contextmanager
def _handler_kept() -> Iterator[None]:
    """Give SIGTERM back its meaning: Ray takes it over when it starts and keeps it after its end."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


@contextmanager
def _errors_only() -> Iterator[None]:
    """Have Ray's loggers, which it has set up when it was imported, say no more than errors for a while."""
    levels = {name: logging.getLogger(name).level for name in ("ray", "ray.data")}
    for name in levels:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
