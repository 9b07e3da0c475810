"""The claims as text: tables for a terminal, Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import polars as pl

from counterground.comparison import Comparison, TablesView, comparison_record, json_text, written_tables
from counterground.paper.claims._claim import claim_by_setting, claim_table, scaling, scaling_table
from counterground.paper.claims._reproduction import reproduction_tables
from counterground.results import check_format


def format_claims(comparison: Comparison, format: str = "table") -> str | TablesView:  # noqa: A002
    """Write the claim in the paper's settings, and what size and data change.

    Args:
        comparison: of the paper, with the line through its ImageNet models; of runs too, whose tables then
            come first.
        format: ``table`` (a rich renderable), ``markdown`` and ``latex`` (booktabs) show percent; ``csv``
            holds a row of the claim per setting and set of CLIPs, fractions; ``json`` holds everything.

    Raises:
        UsageError: an unknown format.
    """
    check_format(format)
    scale = comparison.robustness.scale
    claim = claim_by_setting(scale)
    if format == "csv":
        return claim.write_csv().rstrip("\n")
    answers = scaling(comparison.points, comparison.robustness)
    if format == "json":
        # Named tuples would become bare lists.
        records = [
            asdict(each)
            | {"alone": each.alone._asdict(), "by_data_set": each.by_data_set and each.by_data_set._asdict()}
            for each in answers.answers
        ]
        claims = {"scaling": {"answers": records}, "by_setting": claim.to_dicts()}
        return json_text(comparison_record(comparison) | claims)
    of_runs = comparison.sources
    tables = [*(comparison.tables if of_runs else ()), scaling_table(answers), claim_table(claim, scale)]
    warnings = [f"Warning: {sentence}" for sentence in comparison.warnings if of_runs]
    return written_tables(tables, warnings, format, "claims")


def format_reproduction(
    rows: pl.DataFrame,
    format: str = "table",  # noqa: A002
    warnings: Sequence[str] = (),
) -> str | TablesView:
    """Write the paper's rows next to our values.

    Args:
        rows: what ``reproduce`` returns.
        format: as in ``format_claims``; csv and json hold only the rows.
        warnings: what ``left_out`` returns.

    Raises:
        UsageError: an unknown format.
    """
    check_format(format)
    if format == "csv":
        return rows.write_csv().rstrip("\n")
    if format == "json":
        return json_text(rows.to_dicts())
    lines = [f"Warning: {sentence}" for sentence in warnings]
    return written_tables(reproduction_tables(rows), lines, format, "reproduced")
