"""Make a model rely less on the background, from its features alone. See README.md."""

from counterground.mitigation._method import FitData, MitigatedHead, Mitigation, read_head
from counterground.mitigation._mitigate import Mitigated, mitigate_model
from counterground.mitigation.methods import ALL, list_mitigations

__all__ = [
    "ALL",
    "FitData",
    "Mitigated",
    "MitigatedHead",
    "Mitigation",
    "list_mitigations",
    "mitigate_model",
    "read_head",
]
