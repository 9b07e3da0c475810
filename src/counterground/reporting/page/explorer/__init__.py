"""The scatter that can be hovered and filtered."""

from counterground.reporting.page.explorer._explorer import Explorer, Trend, draw_explorer
from counterground.reporting.page.explorer._points import Item, in_short

__all__ = ["Explorer", "Item", "Trend", "draw_explorer", "in_short"]
