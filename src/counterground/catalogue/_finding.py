"""A finding: what was found about whom, as a code and numbers; its sentence is in the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from string import Formatter
from typing import Any

from counterground.catalogue._sentences import CATALOGUE, SEVERITIES, Severity
from counterground.metrics import Estimate
from counterground.text import and_more, bounds, count, percent

_NAMED = 3  # so many models are listed by name


@dataclass(frozen=True)
class Finding:
    """Something found about a subject.

    Attributes:
        code: a key of `CATALOGUE`.
        subject: label of the model, name of the run or of the benchmark; empty: all of them.
        numbers: what the sentence says, by name; accuracies and differences are fractions.
    """

    code: str
    subject: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, code: str, subject: str, estimate: Estimate, **numbers: Any) -> Finding:
        """Return a finding about an estimate: its ``value``, ``low`` and ``high`` are among the numbers."""
        return cls(
            code, subject, {"value": estimate.value, "low": estimate.low, "high": estimate.high, **numbers}
        )

    @property
    def severity(self) -> Severity:
        """How it is to be read: a ``claim``, a ``warning`` or a ``note`` about one, or a next ``step``."""
        return CATALOGUE[self.code][0]

    @property
    def text(self) -> str:
        """The sentence of the catalogue with the numbers of this finding."""
        return _SENTENCE.vformat(CATALOGUE[self.code][1], (), {**self.numbers, "subject": self.subject})

    def to_json(self) -> dict[str, Any]:
        """Return it for JSON, with its severity and sentence."""
        numbers = {name: list(v) if isinstance(v, tuple) else v for name, v in self.numbers.items()}
        return {
            "code": self.code,
            "severity": self.severity,
            "subject": self.subject,
            "numbers": numbers,
            "text": self.text,
        }


class _Sentence(Formatter):
    """Writes fractions as points, numbers with separators, and lists with at most three names.

    ``{size}`` is the value in points with its interval, ``{level}`` in percent; ``{x:points}`` one fraction.
    """

    def get_value(self, key: int | str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if key in ("size", "level"):
            unit = "points" if key == "size" else "%"
            interval = bounds(kwargs.get("low"), kwargs.get("high"))
            return f"{percent(kwargs['value'])} {unit} {interval}".rstrip()
        return super().get_value(key, args, kwargs)

    def format_field(self, value: Any, format_spec: str) -> str:
        if format_spec == "points":
            return percent(value)
        if isinstance(value, tuple):
            return and_more([str(each) for each in value], _NAMED)
        return count(value) if isinstance(value, int) else str(super().format_field(value, format_spec))


_SENTENCE = _Sentence()


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings, each once: claims, then warnings, notes and steps."""
    kept: list[Finding] = []
    for each in findings:
        if each not in kept:
            kept.append(each)
    return sorted(kept, key=lambda each: SEVERITIES.index(each.severity))
