"""One estimate at the paper's scale for all tests of it."""

import pytest

from semrepa.config import full
from semrepa.estimate import Estimate, estimate


@pytest.fixture(scope="session")
def at_scale() -> Estimate:
    """The full preset on eight A100."""
    return estimate(full(), clips=730_000, gpu="A100", gpus=8)
