"""Make a model rely less on the background, from its features alone. See README.md."""

from counterground.mitigation._method import FitData, Mended, Mitigation

__all__ = ["FitData", "Mended", "Mitigation"]
