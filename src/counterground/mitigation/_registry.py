"""The methods: ours, and those of other packages (entry points ``counterground.mitigations``)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

from counterground.errors import UsageError, did_you_mean
from counterground.mitigation._method import Mitigation
from counterground.mitigation.methods import METHODS
from counterground.plugins import Registry

ALL = "all"
_METHODS = Registry("counterground.mitigations", Mitigation, {method.name: method for method in METHODS})


def list_mitigations(*, warn: Callable[[str], object] = warnings.warn) -> list[Mitigation]:
    """Return the methods; ``warn`` gets one line for each of another package that cannot be loaded."""
    return list(_METHODS.each(warn))


def find_mitigations(names: Sequence[str | Mitigation], warn: Callable[[str], object]) -> list[Mitigation]:
    """Return methods by name, each once; ``all`` stands for every one.

    Raises:
        UsageError: none, an unknown name, something other than a method, or two methods of one name.
        CounterGroundError: the package of one is broken.
    """
    found: dict[str, Mitigation] = {}
    for name in names:
        if not isinstance(name, str | Mitigation):
            raise UsageError(f"A method is a name or a Mitigation, not {type(name).__name__}.")
        if isinstance(name, Mitigation):
            methods = [name]
        else:
            methods = list_mitigations(warn=warn) if name == ALL else [_named(name)]
        for method in methods:
            if found.setdefault(method.name, method) != method:
                raise UsageError(f"Two methods are called {method.name!r}: rename yours.")
    if not found:
        raise UsageError(f"No method was named. Add --method: {', '.join([*_METHODS.names(), ALL])}.")
    return list(found.values())


def _named(name: str) -> Mitigation:
    method = _METHODS.find(name)
    if method is None:
        known = [*_METHODS.names(), ALL]
        raise UsageError(
            f"There is no method {name!r}; there are {', '.join(known)}.{did_you_mean(name, known)}"
        )
    return method
