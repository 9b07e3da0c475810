"""A pool of photos for readers: data frames, a terminal view and one HTML page."""

from counterground.report.pool._page import write_pool_report
from counterground.report.pool._summary import PoolSummary, summarise_pool
from counterground.report.pool._terminal import PoolView

__all__ = ["PoolSummary", "PoolView", "summarise_pool", "write_pool_report"]
