"""The report of runs: one HTML page."""

from counterground.reporting.page._gallery import Gallery, make_gallery
from counterground.reporting.page._page import write_report

__all__ = ["Gallery", "make_gallery", "write_report"]
