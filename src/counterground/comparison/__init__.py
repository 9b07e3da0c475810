"""Room: comparison. Models against each other and against the paper: points, lines, ranks, scaling."""

from __future__ import annotations

from counterground.comparison._agreement import AGREEMENT_OF_DROPS_SCHEMA, drop_agreement
from counterground.comparison._claim import CLAIM_SCHEMA, claim_by_setting
from counterground.comparison._comparability import (
    REFEREE,
    chosen_on_its_photos,
    comparability_warnings,
    measured_referees,
)
from counterground.comparison._comparison import TESTS_SCHEMA, Comparison, full_comparison, runs_left_out
from counterground.comparison._format import TablesView, format_claim, format_comparison, format_reproduction
from counterground.comparison._ranks import RANKS_SCHEMA, rank_models
from counterground.comparison._reproduction import REPRODUCTION_SCHEMA, left_out, reproduce
from counterground.comparison._robustness import (
    RESIDUALS_SCHEMA,
    EffectiveRobustness,
    RobustnessLine,
    effective_robustness,
)
from counterground.comparison._scaling import EVERY, TERMS, WITHOUT, Answer, Scaling, ScalingFit, scaling
from counterground.comparison.points import (
    COUNTERANIMAL,
    POINTS_SCHEMA,
    PUBLISHED,
    identity_of,
    is_counteranimal,
    model_points,
    run_names,
    titles,
)

__all__ = [
    "AGREEMENT_OF_DROPS_SCHEMA",
    "CLAIM_SCHEMA",
    "COUNTERANIMAL",
    "EVERY",
    "POINTS_SCHEMA",
    "PUBLISHED",
    "RANKS_SCHEMA",
    "REFEREE",
    "REPRODUCTION_SCHEMA",
    "RESIDUALS_SCHEMA",
    "TERMS",
    "TESTS_SCHEMA",
    "WITHOUT",
    "Answer",
    "Comparison",
    "EffectiveRobustness",
    "RobustnessLine",
    "Scaling",
    "ScalingFit",
    "TablesView",
    "chosen_on_its_photos",
    "claim_by_setting",
    "comparability_warnings",
    "drop_agreement",
    "effective_robustness",
    "format_claim",
    "format_comparison",
    "format_reproduction",
    "full_comparison",
    "identity_of",
    "is_counteranimal",
    "left_out",
    "measured_referees",
    "model_points",
    "rank_models",
    "reproduce",
    "run_names",
    "runs_left_out",
    "scaling",
    "titles",
]
