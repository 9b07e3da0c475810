"""Arguments of public functions and fields of settings, checked by pydantic; an error is one line."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as validated_dataclass

from counterground.errors import UsageError, did_you_mean
from counterground.files import given_path

Given = ParamSpec("Given")
R = TypeVar("R")


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, os.PathLike) or type(value).__module__ == "torch" else value


def _at_home(path: Path | str) -> Path | str:
    return given_path(os.fspath(path)) if os.fspath(path).startswith("~") else path


Text = Annotated[str, BeforeValidator(_as_text)]
"""A word; a path of ``pathlib`` or a device of PyTorch may be given as well."""
Share = Annotated[float, Field(ge=0, le=1)]
Whole = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
_PATH = Annotated[Path | str, AfterValidator(_at_home)]  # pages write ~ for the home folder
_KINDS: dict[str, Any] = {
    each: kind if each == name else kind | None
    for name, kind in (
        ("bool", bool),
        ("int", int),
        ("float", float),
        ("Path | str", _PATH),
        ("Whole", Whole),
        ("Positive", Positive),
    )
    for each in (name, f"{name} | None")
}


def checked(call: Callable[Given, R]) -> Callable[Given, R]:
    """Return the function with a check of its numbers, switches and paths; those of NumPy become Python's.

    Annotations must be texts, as ``from __future__ import annotations`` makes them.

    Raises:
        UsageError: when called with an argument of another type.
    """
    signature = inspect.signature(call)
    annotations = {name: str(parameter.annotation) for name, parameter in signature.parameters.items()}
    kinds = {name: TypeAdapter(_KINDS[kind]) for name, kind in annotations.items() if kind in _KINDS}

    @wraps(call)
    def checking(*given: Given.args, **named: Given.kwargs) -> R:
        bound = signature.bind(*given, **named)
        for name in kinds.keys() & bound.arguments.keys():
            try:
                bound.arguments[name] = kinds[name].validate_python(bound.arguments[name])
            except ValidationError as error:
                raise _usage_error(error, name) from None
        return call(*bound.args, **bound.kwargs)

    return checking


def checked_fields(kind: type[R]) -> type[R]:
    """Check the fields of a frozen dataclass by their annotations.

    Raises:
        UsageError: when made with a field of another type, or beyond its limits.
    """
    made: Any = validated_dataclass(kind, frozen=True, config=ConfigDict(arbitrary_types_allowed=True))
    made.__doc__, init = kind.__doc__, made.__init__
    names = [field.name for field in fields(made)]

    @wraps(init)
    def checking(self: R, *given: Any, **named: Any) -> None:
        try:
            init(self, *given, **named)
        except ValidationError as error:
            place = error.errors()[0]["loc"][0]
            raise _usage_error(error, names[place] if isinstance(place, int) else place) from None

    made.__init__ = checking
    return made  # type: ignore[no-any-return]


def _usage_error(error: ValidationError, where: str) -> UsageError:
    problem = error.errors(include_url=False)[0]
    known = re.findall(r"'([^']*)'", problem["msg"]) if problem["type"] == "literal_error" else ()
    given = problem["input"]
    says = problem["msg"].replace("Input should be", f"{where} must be").replace("Input", where)
    shown = repr(given) if isinstance(given, str | int | float | None) else type(given).__name__
    return UsageError(f"{says}, not {shown:.60}.{did_you_mean(str(given), known)}")


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
