"""The report of runs: one HTML page."""

from counterground.report.page._gallery import Gallery, make_gallery
from counterground.report.page._page import DiscoverySummary, write_report

__all__ = ["DiscoverySummary", "Gallery", "make_gallery", "write_report"]
