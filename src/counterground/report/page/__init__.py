"""The report of runs: one HTML page."""

from counterground.report.page._page import DiscoverySummary, write_report

__all__ = ["DiscoverySummary", "write_report"]
