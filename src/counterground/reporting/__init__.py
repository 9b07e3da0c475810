"""Room: reporting. Self-contained HTML pages of runs. See README.md."""

from counterground.reporting._gallery import make_thumbnails
from counterground.reporting._page import write_report

__all__ = ["make_thumbnails", "write_report"]
