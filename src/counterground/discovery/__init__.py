"""Each class's best (common) and worst (counter) background, found with a referee model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from counterground.discovery._discover import discover_pairs
    from counterground.discovery._discovery import Discovery, read_discovery
    from counterground.discovery._finding import ByChance, Finding, find_pairs

__all__ = ["ByChance", "Discovery", "Finding", "discover_pairs", "find_pairs", "read_discovery"]


def __getattr__(name: str) -> Any:
    """Load discovery, and with it SciPy, on demand: the other parts need neither."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from counterground.discovery import _discover, _discovery, _finding

    return next(
        getattr(module, name) for module in (_discover, _discovery, _finding) if hasattr(module, name)
    )
