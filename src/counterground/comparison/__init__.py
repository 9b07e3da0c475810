"""Room: comparison. Models against each other and beside the paper's: points, lines, ranks."""

from __future__ import annotations

from counterground.comparison._agreement import drop_agreement
from counterground.comparison._comparability import REFEREE, Selection, comparability, selection_of
from counterground.comparison._comparison import Comparison, full_comparison
from counterground.comparison._points import (
    POINTS_SCHEMA,
    identity_of,
    model_points,
    place_key,
    run_names,
    titles,
    why_not_paper,
)
from counterground.comparison._published import (
    COUNTERANIMAL,
    PaperRow,
    paper_row,
    reproduction_rows,
)
from counterground.comparison._ranks import rank_models
from counterground.comparison._robustness import (
    EffectiveRobustness,
    RobustnessLine,
    effective_robustness,
    numbers_of_photos,
)
from counterground.comparison._tables import tests_table

__all__ = [
    "COUNTERANIMAL",
    "POINTS_SCHEMA",
    "REFEREE",
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
