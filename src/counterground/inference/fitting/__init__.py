"""Heads that scikit-learn fits on features: of other photos, or of parts of the benchmark itself."""

from __future__ import annotations

from counterground.inference.fitting._fitting import FittedHead, FittedHeads, Fitting

__all__ = ["FittedHead", "FittedHeads", "Fitting"]
