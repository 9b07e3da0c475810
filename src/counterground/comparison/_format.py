"""Comparisons as text: tables for a terminal, Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from counterground.comparison._comparison import Comparison
from counterground.results import Table, check_format, latex_table, markdown_table, rich_table
from counterground.text import markdown

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult


def format_comparison(comparison: Comparison, format: str = "table") -> str | TablesView:  # noqa: A002
    """Write a comparison for a person or a program.

    Args:
        comparison: what ``full_comparison`` returns.
        format: ``table`` (a rich renderable), ``markdown`` and ``latex`` (booktabs) show percent; ``csv``
            holds a row per model, fractions, with its line and rank; ``json`` holds everything, fractions.

    Raises:
        UsageError: an unknown format.
    """
    check_format(format)
    if format == "csv":
        return comparison.models.write_csv().rstrip("\n")
    if format == "json":
        return json_text(comparison_record(comparison))
    warnings = [f"Warning: {sentence}" for sentence in comparison.warnings]
    return written_tables(comparison.tables, warnings, format, "compared")


@dataclass(frozen=True)
class TablesView:
    """A rich renderable: one table after another, each with its notes, and the warnings last."""

    tables: Sequence[Table]
    warnings: Sequence[str]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the tables for the console."""
        from rich.text import Text

        for table in self.tables:
            yield rich_table(table, options.max_width)
            yield Text("")
            for sentence in table.notes:
                yield Text(sentence)
            yield Text("")
        for sentence in self.warnings:
            yield Text(sentence)


def written_tables(
    tables: Sequence[Table], warnings: Sequence[str], style: str, kind: str
) -> str | TablesView:
    """Return tables in one of the formats for people; ``kind`` distinguishes the labels of LaTeX."""
    if style == "table":
        return TablesView(tables, warnings)
    if style == "markdown":
        parts = [f"### {table.title}\n\n{markdown_table(table)}" for table in tables]
        return "\n\n".join([*parts, *(f"- {markdown(sentence)}" for sentence in warnings)])
    written = [
        latex_table(table, f"counterground-{kind}-{number}") for number, table in enumerate(tables, start=1)
    ]
    return "\n\n".join([*written, *(f"% {' '.join(sentence.split())}" for sentence in warnings)])


def comparison_record(comparison: Comparison) -> dict[str, Any]:
    """Return all of a comparison as what JSON can hold; numbers are fractions."""
    robustness = comparison.robustness
    return {
        "baseline": robustness.baseline,
        "scale": robustness.scale,
        "contrast": str(comparison.contrast),
        "setting": None if comparison.setting is None else comparison.setting.name,
        "lines": [asdict(line) for line in robustness.lines],
        "models": comparison.models.to_dicts(),
        "tests": comparison.tests.to_dicts(),
        "agreement": comparison.agreement.to_dicts(),
        "warnings": list(comparison.warnings),
    }


def json_text(record: Any) -> str:
    """Return a record as JSON; numbers that are not finite are null."""
    return json.dumps(_finite(record), ensure_ascii=False, indent=1, allow_nan=False)


def _finite(value: Any) -> Any:
    """Replace what JSON cannot hold by null."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and value - value != 0 else value
