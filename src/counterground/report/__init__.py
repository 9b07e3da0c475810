"""Room: report. Self-contained HTML pages of runs and of pools, and figures. See README.md."""

from counterground.report.page import DiscoverySummary, write_report
from counterground.report.pool import PoolSummary, PoolView, summarise_pool, write_pool_report

__all__ = [
    "DiscoverySummary",
    "PoolSummary",
    "PoolView",
    "summarise_pool",
    "write_pool_report",
    "write_report",
]
