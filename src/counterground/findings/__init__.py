"""Room: findings. What estimates and records of runs allow to say, as codes; one catalogue of sentences."""

from counterground.findings._catalogue import CATALOGUE, Severity
from counterground.findings._finding import Finding
from counterground.findings._rules import PLACEBO, Composites, Facts, Mitigation, PairTest, judge
from counterground.findings._selection import Selection, selection_of
from counterground.findings._words import DROP_WORDS, Words, breakable

__all__ = [
    "CATALOGUE",
    "DROP_WORDS",
    "PLACEBO",
    "Composites",
    "Facts",
    "Finding",
    "Mitigation",
    "PairTest",
    "Selection",
    "Severity",
    "Words",
    "breakable",
    "judge",
    "selection_of",
]
