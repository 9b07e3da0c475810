"""Check that the arguments of public functions are what their annotations say."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable
from fractions import Fraction
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from counterground.errors import UsageError
from counterground.files import given_path

Given = ParamSpec("Given")
R = TypeVar("R")

_WANTED = {
    frozenset({"bool"}): "True or False",
    frozenset({"int"}): "a whole number",
    frozenset({"float"}): "a number",
    frozenset({"Path", "str"}): "a path",
    frozenset({"Comparison"}): "what compare returns",
    frozenset({"Discovery", "Path", "str"}): "what discover returns, or its folder",
    frozenset({"CardFacts"}): "a CardFacts",
    frozenset({"ShardSize"}): "a ShardSize",
    frozenset({"MaskSettings"}): "a MaskSettings",
}
_PLAIN = {"bool", "int", "float", "Path", "str"}  # all others are classes of this package
_MOST_BITS = 1000  # of a number; larger ones do not fit a float


def checked(call: Callable[Given, R]) -> Callable[Given, R]:
    """Return the function with a check that each argument has the type of its annotation.

    Checked are annotations that are numbers, switches, paths or some classes of this package (``int``,
    ``float | None``, ``bool``, ``Path | str``, ``Comparison | None``); scalars of NumPy and PyTorch are
    numbers, and ``~`` at the start of a path is the home folder. Annotations must be texts, as
    ``from __future__ import annotations`` makes them.

    Raises:
        UsageError: when called with an argument of another type.
    """
    signature = inspect.signature(call)
    kinds = {
        name: parts
        for name, parameter in signature.parameters.items()
        if (parts := frozenset(str(parameter.annotation).split(" | "))) - {"None"} in _WANTED
    }

    @wraps(call)
    def checking(*given: Given.args, **named: Given.kwargs) -> R:
        try:
            bound = signature.bind(*given, **named)
        except TypeError:  # Python says it better, with the name of the function
            return call(*given, **named)
        for name in kinds.keys() & bound.arguments.keys():
            bound.arguments[name] = _as_annotated(name, bound.arguments[name], kinds[name])
        return call(*bound.args, **bound.kwargs)

    return checking


def checked_fields(kind: type[R]) -> type[R]:
    """Check the fields of a dataclass as `checked` does arguments."""
    kind.__init__ = checked(kind.__init__)  # type: ignore[method-assign]
    return kind


def texts(name: str, given: Any) -> list[str]:
    """Return one text or several as a list; ``name`` is that of the argument.

    Raises:
        UsageError: something else.
    """
    if isinstance(given, str):
        return [given]
    several = isinstance(given, Iterable) and getattr(given, "ndim", 1) == 1  # a table has columns, too
    found = list(given) if several else [given]
    if strange := [each for each in found if not isinstance(each, str)]:
        raise UsageError(f"{name} takes one text or several, not {type(strange[0]).__name__}.")
    return found


def _as_annotated(name: str, value: Any, kinds: frozenset[str]) -> Any:
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):  # of NumPy or PyTorch
        value = value.item()
    if value is None and "None" in kinds:
        return None
    if (kinds - _PLAIN) & {each.__name__ for each in type(value).__mro__}:
        return value
    if "Path" in kinds:
        if isinstance(value, str | os.PathLike) and isinstance(os.fspath(value), str):
            return _as_path(name, value)
        fits = False
    elif "bool" in kinds:
        fits = isinstance(value, bool)
    elif not kinds & _PLAIN:
        fits = False
    else:
        if "float" in kinds and isinstance(value, Fraction):
            value = float(value) if abs(value) < 2**_MOST_BITS else int(value)
        fits = isinstance(value, int | float if "float" in kinds else int) and not isinstance(value, bool)
    if not fits:
        raise UsageError(f"{name} must be {_WANTED[kinds - {'None'}]}, not {type(value).__name__}.")
    if isinstance(value, int) and value.bit_length() > _MOST_BITS:
        raise UsageError(f"{name} is too large.")
    return value


def _as_path(name: str, value: str | os.PathLike[str]) -> str | os.PathLike[str]:
    text = os.fspath(value)
    if not _may_be_a_name(text):
        raise UsageError(f"{name} is {text!r}, and no file can have that name.")
    return given_path(text) if text.startswith("~") else value  # pages write ~ for the home folder


def _may_be_a_name(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False
