"""The report of runs: one HTML page."""

from counterground.reporting.page._page import write_report

__all__ = ["write_report"]
