"""Each class's best (common) and worst (counter) background, found with a referee model."""

from counterground.discovery._discover import Discovery, discover_pairs, read_discovery
from counterground.discovery._finding import ByChance, Pairs, find_pairs

__all__ = ["ByChance", "Discovery", "Pairs", "discover_pairs", "find_pairs", "read_discovery"]
