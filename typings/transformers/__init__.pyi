# Stands in for the real package in type checks only: reading all its models would take minutes.
from typing import Any

def __getattr__(name: str) -> Any: ...
