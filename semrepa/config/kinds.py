"""Kinds of values that fields of a config have, with their ranges."""

from typing import Annotated

from semrepa.config.strict import HexDigest, Within

Count = Annotated[int, Within(1)]
CountOrZero = Annotated[int, Within(0)]
Positive = Annotated[float, Within(1e-12)]
NotNegative = Annotated[float, Within(0)]
Share = Annotated[float, Within(0, 1)]
Seed = Annotated[int, Within(0, 2**32 - 1)]
Sha256 = Annotated[str | None, HexDigest()]
