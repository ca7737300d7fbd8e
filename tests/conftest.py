"""For all tests: no network, no hub, one thread, a fixed seed, and the shared tiny parts."""

import os

os.environ.update(  # before any library reads them
    HF_HUB_OFFLINE="1",
    TRANSFORMERS_OFFLINE="1",
    OMP_WAIT_POLICY="PASSIVE",
)

import signal
import socket
from pathlib import Path

import pytest
import torch

from semrepa.config import Config, mini, override
from semrepa.runtime import RunFolder, seed_everything
from tests.tiny import tiny_pipeline_folder
from tests.tiny_baselines import tiny_i2vgen_xl, tiny_svd

_connect, _connect_ex = socket.socket.connect, socket.socket.connect_ex


def _check_local(sock: socket.socket, address: object) -> None:
    host = address[0] if isinstance(address, tuple) else "localhost"
    if host not in ("127.0.0.1", "::1", "localhost"):
        raise OSError(f"tests must not use the network; got a connection to {address!r}")


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c():
    """A shell that runs tests in the background has told them to ignore Ctrl-C, which some of them send."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _no_network():
    """Only this machine itself may be connected to (notebook kernels talk through it)."""

    def connect(sock, address):
        _check_local(sock, address)
        return _connect(sock, address)

    def connect_ex(sock, address):
        _check_local(sock, address)
        return _connect_ex(sock, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", connect)
        patch.setattr(socket.socket, "connect_ex", connect_ex)
        yield


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Sums in one order; the kernels of notebooks keep all cores."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _ordinary_scheduling():
    """Real-time priority, which some encoders take, makes processes started later hang (see `torture`)."""
    yield
    if hasattr(os, "sched_getscheduler"):
        assert os.sched_getscheduler(0) == os.SCHED_OTHER, "a library has made this process real-time"


@pytest.fixture(autouse=True)
def _seeded():
    seed_everything(0)


@pytest.fixture(scope="session")
def mini_config() -> Config:
    """The mini preset as it is."""
    return mini()


@pytest.fixture(scope="session")
def small_config() -> Config:
    """The mini preset at the size of the tiny parts: 9 frames of 32x48, two steps of two clips."""
    brief = {"steps": 2, "batch_size": 2, "warmup": 0, "checkpoint_every": 1, "eval_every": 2}
    return override(
        mini(),
        {
            "video": {"num_frames": 9, "height": 32, "width": 48},
            "data": {"extra_train": 0, "extra_heldout": 0},
            "structure": {"num_layers": 1, "num_heads": 2, "head_dim": 16},
            "identity": {"width": 8, "num_blocks": 2},
            "pretrain_structure": brief,
            "pretrain_identity": brief,
            "finetune": brief,
            "generate.num_inference_steps": 2,
        },
    )


@pytest.fixture
def tmp_run(tmp_path: Path) -> RunFolder:
    """A fresh run folder."""
    return RunFolder(tmp_path / "run")


@pytest.fixture(scope="session")
def svd_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random SVD in the official layout; shared, so read only."""
    return tiny_svd(tmp_path_factory.mktemp("tiny") / "svd")


@pytest.fixture(scope="session")
def i2vgen_xl_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random I2VGen-XL in the official layout; shared, so read only."""
    return tiny_i2vgen_xl(tmp_path_factory.mktemp("tiny") / "i2vgen_xl")


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A diffusers folder of tiny random parts; shared, so read only."""
    return tiny_pipeline_folder(tmp_path_factory.mktemp("tiny") / "cogvideox")
