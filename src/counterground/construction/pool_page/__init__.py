"""A pool of photos for readers: data frames, a terminal view and one HTML page."""

from counterground.construction.pool_page._page import write_pool_report
from counterground.construction.pool_page._summary import PoolSummary, summarise_pool
from counterground.construction.pool_page._terminal import PoolView

__all__ = ["PoolSummary", "PoolView", "summarise_pool", "write_pool_report"]
