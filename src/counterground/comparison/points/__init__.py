"""Points: one result of one model each, from runs, the paper and its reproduction, in one table."""

from counterground.comparison.points._deduplicate import (
    answers_key,
    answers_of,
    competing_names,
    deduplicate_results,
)
from counterground.comparison.points._matching import PaperRow, is_published, paper_row
from counterground.comparison.points._points import (
    POINTS_SCHEMA,
    by_place,
    gather,
    model_points,
    place_key,
    run_names,
    titles,
    titles_of,
)
from counterground.comparison.points._published import (
    COUNTERANIMAL,
    LABEL_SPACE,
    NORMAL,
    PUBLISHED,
    Figure,
    reproduction_rows,
    standard_error,
)
from counterground.comparison.points._runs import FAMILIES, identity_of, is_counteranimal, why_not_paper

__all__ = [
    "COUNTERANIMAL",
    "FAMILIES",
    "LABEL_SPACE",
    "NORMAL",
    "POINTS_SCHEMA",
    "PUBLISHED",
    "Figure",
    "PaperRow",
    "answers_key",
    "answers_of",
    "by_place",
    "competing_names",
    "deduplicate_results",
    "gather",
    "identity_of",
    "is_counteranimal",
    "is_published",
    "model_points",
    "paper_row",
    "place_key",
    "reproduction_rows",
    "run_names",
    "standard_error",
    "titles",
    "titles_of",
    "why_not_paper",
]
