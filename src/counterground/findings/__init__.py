"""Room: findings. What estimates and records of runs allow to say, as codes of the catalogue."""

from counterground.findings._rules import PLACEBO, Composites, Facts, Mitigation, PairTest, judge
from counterground.findings._scores import facts_of, judge_scores, judged_scores
from counterground.findings._words import DROP_WORDS, Words, breakable

__all__ = [
    "DROP_WORDS",
    "PLACEBO",
    "Composites",
    "Facts",
    "Mitigation",
    "PairTest",
    "Words",
    "breakable",
    "facts_of",
    "judge",
    "judge_scores",
    "judged_scores",
]
