"""The methods: ours, in the order in which they are listed, and those of other packages. See README.md.

Entry points of other packages are ``counterground.mitigations``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

from counterground.errors import UsageError, did_you_mean
from counterground.mitigation._method import Mitigation
from counterground.mitigation.methods._fitted import AFR, BALANCED_PROTOTYPES, DFR, GROUP_DRO, PROTOTYPES
from counterground.mitigation.methods._projections import (
    BACKGROUND_PROMPTS,
    BACKGROUND_SUBTRACTION,
    FOREGROUND,
    IMAGE_PROJECTION,
    ROBOSHOT,
    TEXT_CALIBRATION,
    TEXT_PROJECTION,
    TEXT_SUBTRACTION,
)
from counterground.mitigation.methods._texts import SAGE, SAGE_SET, TEMPLATE_ENSEMBLE
from counterground.plugins import Registry

__all__ = ["ALL", "METHODS", "find_mitigations", "list_mitigations"]

METHODS = (
    TEMPLATE_ENSEMBLE,
    SAGE,
    SAGE_SET,
    BACKGROUND_PROMPTS,
    TEXT_PROJECTION,
    TEXT_CALIBRATION,
    ROBOSHOT,
    TEXT_SUBTRACTION,
    IMAGE_PROJECTION,
    PROTOTYPES,
    BALANCED_PROTOTYPES,
    AFR,
    DFR,
    GROUP_DRO,
    BACKGROUND_SUBTRACTION,
    FOREGROUND,
)
ALL = "all"
_METHODS = Registry("counterground.mitigations", Mitigation, {method.name: method for method in METHODS})


def list_mitigations(*, warn: Callable[[str], object] = warnings.warn) -> list[Mitigation]:
    """Return the methods; ``warn`` gets one line for each of another package that cannot be loaded."""
    return list(_METHODS.each(warn))


def find_mitigations(names: Sequence[str | Mitigation], warn: Callable[[str], object]) -> list[Mitigation]:
    """Return methods by name, each once; ``all`` stands for every one.

    Raises:
        UsageError: none, an unknown name, or two methods of one name.
        CounterGroundError: the package of one is broken.
    """
    found: dict[str, Mitigation] = {}
    for name in names:
        methods = list_mitigations(warn=warn) if name == ALL else [_named(name)]
        for method in methods:
            if found.setdefault(method.name, method) != method:
                raise UsageError(f"Two methods are called {method.name!r}: rename yours.")
    if not found:
        raise UsageError(f"No method was named. Add --method: {', '.join([*_METHODS.names(), ALL])}.")
    return list(found.values())


def _named(name: str | Mitigation) -> Mitigation:
    method = name if isinstance(name, Mitigation) else _METHODS.find(name)
    if method is None:
        known = [*_METHODS.names(), ALL]
        raise UsageError(
            f"There is no method {name!r}; there are {', '.join(known)}.{did_you_mean(str(name), known)}"
        )
    return method
