"""A metric: the share of photos whose true class is among the three highest."""

from __future__ import annotations

from counterground.metrics import Answers, Estimate, Metric


def _top3(answers: Answers, group: str | None) -> Estimate:
    if not answers.knows("true_rank"):
        return answers.unknown
    return answers.balanced_share((answers.rows["true_rank"].fill_null(1000) < 3).to_numpy(), group)


TOP3_ACCURACY = Metric(
    name="top3_accuracy",
    groups=(None, "common", "counter"),
    function=_top3,
    title="Top-3",
    meaning="Share of photos whose true class is among the three highest.",
)
