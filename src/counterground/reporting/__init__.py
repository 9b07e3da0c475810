"""Room: reporting. Self-contained HTML pages of runs. See README.md."""

from counterground.reporting.page import write_report

__all__ = ["write_report"]
