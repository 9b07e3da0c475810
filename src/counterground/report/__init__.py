"""Room: report. Self-contained HTML pages of runs and of pools, and figures. See README.md."""

from counterground.report.page._page import DiscoverySummary, write_report
from counterground.report.pool._page import write_pool_report
from counterground.report.pool._summary import PoolSummary, summarise_pool
from counterground.report.pool._terminal import PoolView

__all__ = [
    "DiscoverySummary",
    "PoolSummary",
    "PoolView",
    "summarise_pool",
    "write_pool_report",
    "write_report",
]
