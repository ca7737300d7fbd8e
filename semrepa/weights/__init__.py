"""Which weights a config rests on, where they lie, and what is missing: all at once, before a run starts.

    python -m semrepa.weights --preset full               what is there, what is missing, how to get it
    python -m semrepa.weights --preset full --download    fetch what a hub has

Nothing is downloaded unless `weights.allow_download` or `--download` says so.
"""

from semrepa.weights.catalogue import catalogue
from semrepa.weights.check import check_weights, load_base, sha256_of_weights, survey
from semrepa.weights.kinds import recorded_kind
from semrepa.weights.message import WeightsError
from semrepa.weights.places import Finding, counted_from, locate
from semrepa.weights.roles import JUDGES, ROLES, Network, Role
from semrepa.weights.siblings import from_report

__all__ = [
    "JUDGES",
    "ROLES",
    "Finding",
    "Network",
    "Role",
    "WeightsError",
    "catalogue",
    "check_weights",
    "counted_from",
    "from_report",
    "load_base",
    "locate",
    "recorded_kind",
    "sha256_of_weights",
    "survey",
]
