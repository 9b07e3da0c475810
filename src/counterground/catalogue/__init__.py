"""Room: catalogue. One sentence for each finding, and the finding itself: a code, a subject, numbers."""

from counterground.catalogue._finding import Finding, ordered
from counterground.catalogue._sentences import CATALOGUE, Severity

__all__ = ["CATALOGUE", "Finding", "Severity", "ordered"]
