"""Comparisons as text: tables for a terminal, Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from counterground.comparison._claim import claim_table
from counterground.comparison._comparison import Comparison
from counterground.comparison._reproduction import reproduction_tables
from counterground.metrics import Scale
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
        return _dumped(_record(comparison))
    warnings = [f"Warning: {sentence}" for sentence in comparison.warnings]
    return _written(comparison.tables, warnings, format, "compared")


def format_claim(claim: pl.DataFrame, scale: Scale, format: str = "table") -> str | TablesView:  # noqa: A002
    """Write the paper's settings side by side.

    Args:
        claim: what ``claim_by_setting`` returns.
        scale: the scale of its offsets.
        format: as in ``format_comparison``; csv and json hold only the rows.

    Raises:
        UsageError: an unknown format.
    """
    check_format(format)
    if format == "csv":
        return claim.write_csv().rstrip("\n")
    if format == "json":
        return _dumped(claim.to_dicts())
    return _written([claim_table(claim, scale)], [], format, "settings")


def format_reproduction(
    rows: pl.DataFrame,
    format: str = "table",  # noqa: A002
    warnings: Sequence[str] = (),
) -> str | TablesView:
    """Write the paper's rows next to our values.

    Args:
        rows: what ``reproduce`` returns.
        format: as in ``format_comparison``; csv and json hold only the rows.
        warnings: what ``left_out`` returns.

    Raises:
        UsageError: an unknown format.
    """
    check_format(format)
    if format == "csv":
        return rows.write_csv().rstrip("\n")
    if format == "json":
        return _dumped(rows.to_dicts())
    lines = [f"Warning: {sentence}" for sentence in warnings]
    return _written(reproduction_tables(rows), lines, format, "reproduced")


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


def _written(tables: Sequence[Table], warnings: Sequence[str], style: str, kind: str) -> str | TablesView:
    if style == "table":
        return TablesView(tables, warnings)
    if style == "markdown":
        parts = [f"### {table.title}\n\n{markdown_table(table)}" for table in tables]
        return "\n\n".join([*parts, *(f"- {markdown(sentence)}" for sentence in warnings)])
    written = [
        latex_table(table, f"counterground-{kind}-{number}") for number, table in enumerate(tables, start=1)
    ]
    return "\n\n".join([*written, *(f"% {' '.join(sentence.split())}" for sentence in warnings)])


def _record(comparison: Comparison) -> dict[str, Any]:
    robustness, scaling = comparison.robustness, comparison.scaling
    return {
        "baseline": robustness.baseline,
        "scale": robustness.scale,
        "contrast": str(comparison.contrast),
        "setting": None if comparison.setting is None else comparison.setting.name,
        "lines": [asdict(line) for line in robustness.lines],
        "models": comparison.models.to_dicts(),
        "scaling": None if scaling is None else _scaling_record(scaling),
        "by_setting": None if comparison.by_setting is None else comparison.by_setting.to_dicts(),
        "tests": comparison.tests.to_dicts(),
        "agreement": comparison.agreement.to_dicts(),
        "warnings": list(comparison.warnings),
    }


def _scaling_record(scaling: Any) -> dict[str, Any]:
    record = asdict(scaling)
    # Named tuples would become bare lists.
    for fit, given in zip(record["fits"], scaling.fits, strict=True):
        fit["joint"]["coefficients"] = [term._asdict() for term in given.joint.coefficients]
        others = [*zip(fit["single"], given.single, strict=True)]
        if given.by_data_set is not None:
            others.append((fit["by_data_set"], given.by_data_set))
        for single, regression in others:
            single["coefficients"] = [term._asdict() for term in regression.coefficients]
    for answer, given in zip(record["answers"], scaling.answers, strict=True):
        answer["alone"] = given.alone._asdict()
        if given.by_data_set is not None:
            answer["by_data_set"] = given.by_data_set._asdict()
    return record


def _dumped(record: Any) -> str:
    return json.dumps(_finite(record), ensure_ascii=False, indent=1, allow_nan=False)


def _finite(value: Any) -> Any:
    """Replace what JSON cannot hold by null."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and value - value != 0 else value
