"""Room: reporting. Self-contained HTML pages of runs. See README.md."""

from counterground.reporting.page import DiscoverySummary, write_report

__all__ = ["DiscoverySummary", "write_report"]
