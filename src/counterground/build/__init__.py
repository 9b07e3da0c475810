"""From raw photos to a benchmark; for now its fourth step, discover. See README.md."""

from counterground.build._discover import Discovery, Drop, discover_pairs, read_discovery

__all__ = ["Discovery", "Drop", "discover_pairs", "read_discovery"]
