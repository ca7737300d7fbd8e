"""Which execution providers are taken, on ONNX Runtimes that are made up."""

import onnxruntime
import pytest

from semrepa.teachers.providers import choose_providers, running_on

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch):
    def install(*names: str) -> None:
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(names))

    return install


def test_what_is_installed_is_taken_in_order(installed, caplog: pytest.LogCaptureFixture) -> None:
    installed(CUDA, CPU)
    assert choose_providers((CPU, CUDA)) == [CPU, CUDA]
    assert choose_providers(None) is None
    assert not caplog.records


def test_a_missing_gpu_build_is_warned_of_when_there_is_a_way_on(
    installed, caplog: pytest.LogCaptureFixture
) -> None:
    installed("AzureExecutionProvider", CPU)
    assert choose_providers((CUDA, CPU)) == [CPU]
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert f"cannot use {CUDA} and runs on {CPU}" in record.message
    assert "pip uninstall -y onnxruntime" in record.message


def test_a_missing_gpu_build_is_an_error_when_there_is_none(installed) -> None:
    installed(CPU)
    with pytest.raises(
        ValueError, match=rf"got \['{CUDA}'\]; expected at least one of .*pip install onnxruntime-gpu"
    ):
        choose_providers((CUDA,))


def test_misspelt_names_are_an_error_even_beside_good_ones(installed) -> None:
    installed(CPU)
    with pytest.raises(ValueError, match=r"got \['CudaExecutionProvider'\].*spelling"):
        choose_providers(("CudaExecutionProvider", CPU))


def test_a_silent_fallback_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    assert running_on([CUDA, CPU], [CUDA, CPU], [CUDA, CPU]) == (CUDA, CPU)
    assert not caplog.records
    assert running_on([CUDA, CPU], [CUDA, CPU], [CPU]) == (CPU,)
    assert f"cannot use {CUDA} and runs on {CPU}" in caplog.text


def test_nothing_asked_for_is_nothing_to_miss(caplog: pytest.LogCaptureFixture) -> None:
    assert running_on(None, [CPU]) == (CPU,)
    assert not caplog.records
