"""How sides of a contrast are written: ``column=value|value & number<0.2``, ``all``, ``average(NAME)``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from counterground.errors import UsageError

ALL = "all"
_COMPARISONS = ("=", "!=", "<", "<=", ">", ">=")
SHAPE = "write NAME: LEFT - RIGHT within COLUMN, such as place=water - place=land within class_name"
_TOKEN = re.compile(
    r"""\s*(?:(?P<quoted>"[^"]*"|'[^']*')|(?P<sign>!=|<=|>=|[=<>|&(),:])|(?P<word>[^\s=<>!|&(),:"']+))"""
)


@dataclass(frozen=True)
class Condition:
    """``column sign value|value``: which values a photo of a selection has.

    Texts are compared with ``=`` and ``!=``, numbers also with ``<``, ``<=``, ``>`` and ``>=``. A photo
    without a value meets no condition.
    """

    column: str
    sign: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.column}{self.sign}{'|'.join(map(quoted, self.values))}"


@dataclass(frozen=True)
class Side:
    """One side of a contrast: the photos that meet all conditions (without any: all), or a named average."""

    conditions: tuple[Condition, ...] = ()
    average: str | None = None

    def __str__(self) -> str:
        if self.average is not None:
            return f"average({self.average})"
        return " & ".join(map(str, self.conditions)) or ALL

    @classmethod
    def parse(cls, text: str) -> Side:
        """Read ``column=value|value & column!=value & number<0.2``, ``all`` or ``average(NAME)``.

        Raises:
            UsageError: the text does not have this form.
        """
        reader = Reader(text)
        side = reader.side()
        reader.end()
        return side


def selection(side: Side, schema: Mapping[str, Any]) -> pl.Expr:
    """Return the condition that a photo is on a side; all photos are in an average."""
    chosen = pl.lit(value=True)
    for condition in side.conditions:
        column = pl.col(condition.column)
        if pl.Schema(schema)[condition.column].is_numeric():
            tests = [_compared(column, condition.sign, float(value)) for value in condition.values]
            fulfilled = pl.all_horizontal(tests) if condition.sign == "!=" else pl.any_horizontal(tests)
        else:
            fulfilled = column.is_in(condition.values)
            fulfilled = ~fulfilled if condition.sign == "!=" else fulfilled
        chosen &= fulfilled.fill_null(value=False)
    return chosen


def _compared(column: pl.Expr, sign: str, value: float) -> pl.Expr:
    return {
        "=": column == value,
        "!=": column != value,
        "<": column < value,
        "<=": column <= value,
        ">": column > value,
        ">=": column >= value,
    }[sign]


def quoted(value: str) -> str:
    """Write a value so that it is read back as one value."""
    plain = value == " ".join(value.split()) and re.fullmatch(r"[^=<>!|&(),:\"']+", value)
    if plain and not {"-", "within"} & set(value.split()):
        return value
    return f"'{value}'" if '"' in value else f'"{value}"'


class Reader:
    """Reads the parts of an expression from left to right."""

    def __init__(self, text: str, names: Mapping[str, str] | None = None) -> None:
        self._text = text
        self._names = names or {}
        self._tokens = list(self._split())
        self._at = 0

    def _split(self) -> Iterator[tuple[str, str]]:
        place, text = 0, self._text.rstrip()
        while place < len(text):
            found = _TOKEN.match(text, place)
            if found is None:
                raise self._refused(
                    f"{text[place:].strip()[:20]!r} cannot be read; quote values that hold signs"
                )
            kind = str(found.lastgroup)
            yield kind, found[kind][1:-1] if kind == "quoted" else found[kind]
            place = found.end()

    def _refused(self, why: str) -> UsageError:
        return UsageError(f"The contrast {self._text.strip()!r} is not one: {why}; {SHAPE}.")

    def _peek(self, ahead: int = 0) -> tuple[str, str]:
        place = self._at + ahead
        return self._tokens[place] if place < len(self._tokens) else ("end", "")

    def _where(self) -> str:
        kind, text = self._peek()
        return "at its end" if kind == "end" else f"before {text!r}"

    def _is(self, *words: str, ahead: int = 0) -> bool:
        kind, text = self._peek(ahead)
        return kind in ("sign", "word") and text in words

    def _take(self) -> str:
        text = self._peek()[1]
        self._at += 1
        return text

    def expect(self, word: str) -> None:
        """Read one sign."""
        if not self._is(word):
            raise self._refused(f"{word!r} is missing {self._where()}")
        self._at += 1

    def end(self) -> None:
        """Refuse what follows the expression."""
        if self._at < len(self._tokens):
            raise self._refused(f"{self._peek()[1]!r} is one word too many")

    def name(self) -> str:
        """Read ``NAME:``, if there is one."""
        if not self._is(":", ahead=1):
            return ""
        name = self._take()
        self._at += 1
        return name

    def side(self) -> Side:
        """Read a side."""
        if self._is(ALL) and not self._is(*_COMPARISONS, ahead=1):
            self._at += 1
            return Side()
        if self._is("average") and self._is("(", ahead=1):
            self._at += 2
            side = Side(average=self._column())
            self.expect(")")
            return side
        conditions = [self._condition()]
        while self._is("&"):
            self._at += 1
            conditions.append(self._condition())
        return Side(tuple(conditions))

    def within(self, default: tuple[str, ...]) -> tuple[str, ...]:
        """Read the columns that are held constant."""
        if not self._is("within"):
            return default
        self._at += 1
        if self._is(ALL):
            self._at += 1
            return ()
        columns = [self._column()]
        while self._is(","):
            self._at += 1
            columns.append(self._column())
        return tuple(columns)

    def _condition(self) -> Condition:
        column = self._column()
        if not self._is(*_COMPARISONS):
            raise self._refused(f"{column!r} needs = and a value")
        sign, values = self._take(), [self._value()]
        while self._is("|"):
            self._at += 1
            values.append(self._value())
        return Condition(column, sign, tuple(values))

    def _column(self) -> str:
        if self._peek()[0] not in ("word", "quoted") or self._is("-", "within"):
            raise self._refused(f"a name is missing {self._where()}")
        name = self._take()
        return self._names.get(name, name)

    def _value(self) -> str:
        """Read a quoted value, or words up to the next sign."""
        if self._peek()[0] == "quoted":
            return self._take()
        words = [self._column()]
        while self._peek()[0] == "word" and not self._is("-", "within"):
            words.append(self._take())
        return " ".join(words)
