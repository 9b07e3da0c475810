"""A record of settings: each setting of a command is one field, with its type, default, help and unit.

Options, ``-X``, ``counterground.toml``, the reference, checks of values and ``run.json`` follow from the
fields. Importing this loads no library: pydantic is loaded when the first value is checked.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, MISSING, dataclass, fields, replace
from functools import cache, cached_property
from pathlib import Path
from types import NoneType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Literal,
    Self,
    get_args,
    get_origin,
    get_type_hints,
)

from counterground.errors import UsageError, did_you_mean
from counterground.files import given_path

if TYPE_CHECKING:
    from pydantic import TypeAdapter


@dataclass(frozen=True)
class Help:
    """What the annotation of a field says beyond its type.

    Attributes:
        text: what it means, for a reader of ``--help``.
        metavar: how its value is written; empty: as its type says.
        fraction: a share or an accuracy, from 0 to 1, also written ``10%``.
        recorded: whether results depend on it, so that ``run.json`` names it.
        env: the environment variable that sets it.
        least: for numbers, as ``most``, ``above`` and ``below``.
    """

    text: str
    _: KW_ONLY
    metavar: str = ""
    fraction: bool = False
    recorded: bool = True
    env: str = ""
    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None


@dataclass(frozen=True)
class Setting:
    """One field of a record; its type is ``kind``, or None where it is ``optional``.

    ``settable``: also outside Python.
    """

    name: str
    kind: Any
    optional: bool
    default: Any
    about: Help
    settable: bool

    @property
    def option(self) -> str:
        """Its name on the command line: ``--batch-size``."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def repeatable(self) -> bool:
        """Whether it has several values."""
        return get_origin(self.kind) in (tuple, Mapping)

    @property
    def placeholder(self) -> str:
        """How its value is written: ``a|b``, ``N``, ``10%``."""
        if self.about.metavar or get_origin(self.kind) is Literal:
            return self.about.metavar or "|".join(get_args(self.kind))
        kinds = {int: "N", float: "N", Path: "FILE", bool: "yes|no"}
        return "10%" if self.about.fraction else kinds.get(self.kind, "TEXT")

    @property
    def described(self) -> str:
        """Its help with its default."""
        if self.default in (None, "", (), {}, False):
            return self.about.text
        default = f"{100 * self.default:g}%" if self.about.fraction else self.written(self.default)
        return f"{self.about.text}  [default: {default}]"

    def written(self, value: Any) -> str:
        """Return a value as it is typed."""
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, Mapping):
            return ",".join(f"{name}={part}" for name, part in value.items())
        return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)

    def checked(self, value: Any, where: str = "") -> Any:
        """Return a value, or what text means, as the type of the setting.

        Raises:
            UsageError: another type, or beyond the limits; ``where`` says who gave it.
        """
        from pydantic import ValidationError

        if value is None and self.optional:
            return None
        try:
            return self._adapter.validate_python(_read(self, value))
        except ValidationError as error:
            raise _usage_error(error, where or self.name) from None
        except (TypeError, ValueError) as error:
            raise UsageError(f"{where or self.name} {error}.") from None

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        from pydantic import Field, TypeAdapter

        about = self.about
        least, most = (0, 1) if about.fraction else (about.least, about.most)
        limits: dict[str, Any] = {"ge": least, "le": most, "gt": about.above, "lt": about.below}
        if self.kind is float:
            limits["allow_inf_nan"] = False
        limits = {name: limit for name, limit in limits.items() if limit is not None}
        kind: Any = self.kind
        if limits:
            of = get_args(kind)[0] if self.repeatable else kind
            each: Any = Annotated[of, Field(**limits)]
            kind = tuple[each, ...] if self.repeatable else each
        return TypeAdapter(kind)


@dataclass(frozen=True, kw_only=True)
class Record:
    """The settings of a command. Subclasses are frozen dataclasses whose fields are annotated with `Help`.

    ``command`` names the command, ``usual`` those that are options of it; ``-X`` sets all.

    Raises:
        UsageError: a value of another type or beyond its limits, or values that do not go together.
    """

    command: ClassVar[str] = "evaluate"
    usual: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for each in settings_of(type(self)):
            object.__setattr__(self, each.name, each.checked(getattr(self, each.name)))
        self.check()

    def check(self) -> None:
        """Refuse values that do not go together."""

    @classmethod
    def of(cls, settings: Self | None, **given: Any) -> Self:
        """Return ``settings``, where arguments that are not at their default replace what they say.

        Raises:
            UsageError: ``settings`` is something else, or see `Record`.
        """
        if settings is not None and not isinstance(settings, cls):
            raise UsageError(f"settings takes a {cls.__name__}, not {type(settings).__name__}.")
        defaults = cls()
        changed = {
            name: value
            for name, value in given.items()
            if type(value) is not type(getattr(defaults, name)) or value != getattr(defaults, name)
        }
        return replace(settings or defaults, **changed) if changed else settings or defaults

    def given(self) -> dict[str, Any]:
        """Return what is recorded and not at its default, as JSON types."""
        values = {
            each.name: getattr(self, each.name)
            for each in settings_of(type(self))
            if each.about.recorded and getattr(self, each.name) != each.default
        }
        return json.loads(json.dumps(values, default=str))  # type: ignore[no-any-return]


def settings_of(record: type[Record]) -> tuple[Setting, ...]:
    """Return the settings of a record, in the order of its fields."""
    kind: Any = record
    return _read_fields(kind)


@cache
def _read_fields(record: Any) -> tuple[Setting, ...]:
    hints = get_type_hints(record, include_extras=True)
    found = []
    for each in fields(record):
        kind, *about = (
            get_args(hints[each.name]) if hasattr(hints[each.name], "__metadata__") else [hints[each.name]]
        )
        parts = get_args(kind)
        optional = NoneType in parts
        if optional:
            (kind,) = (part for part in parts if part is not NoneType)
        default = {} if each.default is MISSING else each.default
        help_of = about[0] if about else Help("", recorded=False)
        found.append(Setting(each.name, kind, optional, default, help_of, bool(about)))
    return tuple(found)


def find_setting(record: type[Record], name: str, where: str) -> Setting:
    """Return a setting by its name, with ``-`` or ``_``.

    Raises:
        UsageError: there is none; ``where`` says who named it.
    """
    known = {each.name: each for each in settings_of(record) if each.settable}
    key = name.strip().replace("-", "_")
    if key not in known:
        hint = did_you_mean(key, known) or f" There are {', '.join(known)}."
        raise UsageError(f"{where} has no setting {name!r}.{hint}")
    return known[key]


def _read(setting: Setting, value: Any) -> Any:
    """Read what may be text: lists are separated by commas, pairs are NAME=VALUE, shares 10% or 0.1."""
    if setting.about.fraction:
        return tuple(map(fraction, items(value))) if setting.repeatable else fraction(value)
    if setting.kind is str and (isinstance(value, os.PathLike) or type(value).__module__ == "torch"):
        return str(value)
    if setting.kind is Path and isinstance(value, str):
        return given_path(value)
    origin = get_origin(setting.kind)
    if origin is tuple:
        return tuple(items(value))
    if origin is Mapping and not isinstance(value, Mapping):
        pairs = _pairs(pair for word in items(value) for pair in _split_pairs(str(word)))
        several = get_origin(get_args(setting.kind)[1]) is tuple
        return {name: items(text) for name, text in pairs.items()} if several else pairs
    return value


def items(value: Any) -> list[Any]:
    """Return one or several as a list; a text may have several, separated by commas.

    Raises:
        TypeError: something else.
    """
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, Mapping | bytes) or not isinstance(value, Iterable):
        raise TypeError(f"takes one text or several, not {type(value).__name__}")
    return list(value)


def _split_pairs(word: str) -> list[str]:
    """Split ``a=b,c=d``, but not ``a=b, c``: a name may have a comma."""
    parts = items(word)
    return parts if all("=" in part for part in parts) else [word]


def _pairs(words: Iterable[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for word in words:
        name, equals, value = (part.strip() for part in str(word).partition("="))
        if not (equals and name and value):
            raise ValueError(f"takes NAME=VALUE, not {word!r}")
        if pairs.setdefault(name, value) != value:
            raise ValueError(f"has two values for {name!r}: give one")
    return pairs


def fraction(value: Any) -> Any:
    """Return a share as a number from 0 to 1; a text is ``10%`` or ``0.1``.

    Raises:
        ValueError: another text, or a number beyond that.
    """
    number = value
    if isinstance(value, str):
        text = value.strip()
        try:
            number = round(float(text[:-1]) / 100, 12) if text.endswith("%") else float(text)
        except ValueError:
            raise ValueError(f"is written 10% or 0.1, not {value!r}") from None
    if isinstance(number, int | float) and not 0 <= number <= 1:
        raise ValueError(f"is from 0 to 1, written 10% or 0.1, not {value}")
    return number


def _usage_error(error: Any, where: str) -> UsageError:
    problem = error.errors(include_url=False)[0]
    known = re.findall(r"'([^']*)'", problem["msg"]) if problem["type"] == "literal_error" else ()
    given = problem["input"]
    says = problem["msg"].replace("Input should be", f"{where} must be").replace("Input", where)
    if where not in says:
        says = f"{where}: {says[0].lower()}{says[1:]}"
    shown = repr(given) if isinstance(given, str | int | float | None) else type(given).__name__
    return UsageError(f"{says}, not {shown:.60}.{did_you_mean(str(given), known)}")
