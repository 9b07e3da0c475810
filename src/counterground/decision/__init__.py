"""Room: decision. How many photos a question needs, and what those at hand decide. See README.md."""

from counterground.decision._check import STATUS, Check, Finding, Limits, check_run
from counterground.decision._plan import Assumptions, Costs, Pilot, Plan, plan_photos
from counterground.decision._sequential import Until, look, score_stopped

__all__ = [
    "STATUS",
    "Assumptions",
    "Check",
    "Costs",
    "Finding",
    "Limits",
    "Pilot",
    "Plan",
    "Until",
    "check_run",
    "look",
    "plan_photos",
    "score_stopped",
]
