"""Room: comparison. Models against each other and beside the paper's: points, lines, ranks."""

from __future__ import annotations

from counterground.comparison._agreement import AGREEMENT_OF_DROPS_SCHEMA, drop_agreement
from counterground.comparison._comparability import (
    REFEREE,
    chosen_on_its_photos,
    comparability_warnings,
    measured_referees,
)
from counterground.comparison._comparison import TESTS_SCHEMA, Comparison, full_comparison, runs_left_out
from counterground.comparison._format import (
    TablesView,
    comparison_record,
    format_comparison,
    json_text,
    written_tables,
)
from counterground.comparison._points import POINTS_SCHEMA, model_points, run_names, titles
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
    "TablesView",
    "chosen_on_its_photos",
    "comparability_warnings",
    "comparison_record",
    "drop_agreement",
    "effective_robustness",
    "format_comparison",
    "full_comparison",
    "identity_of",
    "is_counteranimal",
    "json_text",
    "measured_referees",
    "model_points",
    "numbers_of_photos",
    "paper_row",
    "rank_models",
    "reproduction_rows",
    "run_names",
    "runs_left_out",
    "tests_table",
    "titles",
    "why_not_paper",
    "written_tables",
]
