"""Room: report. Scores as tables for every reader, and self-contained HTML pages of runs and of pools."""

from __future__ import annotations

from counterground.report._citations import bibliography
from counterground.report._comparison_fragment import comparison_html, robustness_html, scaling_html
from counterground.report._comparison_view import SectionsView, format_comparison, format_reproduction
from counterground.report._fragment import scores_html
from counterground.report._html import DiscoverySummary, write_report
from counterground.report._model_card import model_cards
from counterground.report._pool_page import write_pool_report
from counterground.report._pool_summary import PoolSummary, summarise_pool
from counterground.report._pool_terminal import PoolView
from counterground.report._summary import headline
from counterground.report._tables import ScoresView, format_scores, score_rows, scores_table

__all__ = [
    "DiscoverySummary",
    "PoolSummary",
    "PoolView",
    "ScoresView",
    "SectionsView",
    "bibliography",
    "comparison_html",
    "format_comparison",
    "format_reproduction",
    "format_scores",
    "headline",
    "model_cards",
    "robustness_html",
    "scaling_html",
    "score_rows",
    "scores_html",
    "scores_table",
    "summarise_pool",
    "write_pool_report",
    "write_report",
]
