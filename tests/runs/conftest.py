"""For all tests here: three clips, and the config of their size."""

import pytest

from semrepa.config import override
from tests.runs.clips import write_clips


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return write_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="session")
def cfg(small_config, tiny_folder, svd_folder, i2vgen_xl_folder):
    return override(
        small_config,
        {
            "model.weights": str(tiny_folder),
            "baselines": {"svd": str(svd_folder), "i2vgen_xl": str(i2vgen_xl_folder)},
        },
    )
