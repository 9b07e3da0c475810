"""Room: decision. How many photos a question needs, and what those at hand decide. See README.md."""

from counterground.decision._check import STATUS, Check, Judgement, check_run
from counterground.decision._pilot import Assumptions, Pilot
from counterground.decision._plan import Outlook, Plan, Question, look_ahead, plan_photos

__all__ = [
    "STATUS",
    "Assumptions",
    "Check",
    "Judgement",
    "Outlook",
    "Pilot",
    "Plan",
    "Question",
    "check_run",
    "look_ahead",
    "plan_photos",
]
