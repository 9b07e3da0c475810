"""Room: report. Scores as tables for every reader, and one self-contained HTML page per set of runs."""

from __future__ import annotations

from counterground.report._fragment import scores_html
from counterground.report._html import DiscoverySummary, write_report
from counterground.report._summary import headline
from counterground.report._tables import format_scores, scores_table

__all__ = ["DiscoverySummary", "format_scores", "headline", "scores_html", "scores_table", "write_report"]
