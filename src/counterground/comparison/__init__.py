"""Room: comparison. Models against each other and beside the paper's: points, lines, ranks."""

from __future__ import annotations

from counterground.comparison._agreement import AGREEMENT_OF_DROPS_SCHEMA, drop_agreement
from counterground.comparison._comparability import comparability
from counterground.comparison._comparison import TESTS_SCHEMA, Comparison, full_comparison
from counterground.comparison._points import POINTS_SCHEMA, model_points, place_key, run_names, titles
from counterground.comparison._published import (
    COUNTERANIMAL,
    PUBLISHED,
    PaperRow,
    paper_row,
    reproduction_rows,
)
from counterground.comparison._ranks import RANKS_SCHEMA, rank_models
from counterground.comparison._robustness import (
    RESIDUALS_SCHEMA,
    EffectiveRobustness,
    RobustnessLine,
    effective_robustness,
    numbers_of_photos,
)
from counterground.comparison._run_points import identity_of, is_counteranimal, why_not_paper
from counterground.comparison._selection import REFEREE, Selection, selection_of
from counterground.comparison._tables import UNLIKELY, tests_table

__all__ = [
    "AGREEMENT_OF_DROPS_SCHEMA",
    "COUNTERANIMAL",
    "POINTS_SCHEMA",
    "PUBLISHED",
    "RANKS_SCHEMA",
    "REFEREE",
    "RESIDUALS_SCHEMA",
    "TESTS_SCHEMA",
    "UNLIKELY",
    "Comparison",
    "EffectiveRobustness",
    "PaperRow",
    "RobustnessLine",
    "Selection",
    "comparability",
    "drop_agreement",
    "effective_robustness",
    "full_comparison",
    "identity_of",
    "is_counteranimal",
    "model_points",
    "numbers_of_photos",
    "paper_row",
    "place_key",
    "rank_models",
    "reproduction_rows",
    "run_names",
    "selection_of",
    "tests_table",
    "titles",
    "why_not_paper",
]
