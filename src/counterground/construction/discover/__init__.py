"""Each class's best (common) and worst (counter) background, by a referee model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from counterground.construction.discover._discover import Discovery, discover_pairs, read_discovery

__all__ = ["Discovery", "discover_pairs", "read_discovery"]


def __getattr__(name: str) -> Any:
    """Load discovery, and with it SciPy, when it is asked for: the other parts need neither."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from counterground.construction.discover import _discover

    return getattr(_discover, name)
