"""Room: report. Self-contained HTML pages of runs and of pools, and figures. See README.md."""

from counterground.construction.pool_page import PoolSummary, PoolView, summarise_pool, write_pool_report
from counterground.reporting.page import DiscoverySummary, write_report

__all__ = [
    "DiscoverySummary",
    "PoolSummary",
    "PoolView",
    "summarise_pool",
    "write_pool_report",
    "write_report",
]
