"""The claims, and the paper's rows next to ours, as tables and in the formats of the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from counterground.catalogue import Finding
from counterground.comparison import Comparison
from counterground.paper.claims._claim import claim_by_setting, claim_table
from counterground.paper.claims._reproduction import reproduction_tables
from counterground.paper.claims._scaling import scaling, scaling_table
from counterground.results import Table, TableView


@dataclass(frozen=True, repr=False)
class Claims(TableView):
    """The claim in the paper's settings, and what size and data change.

    ``comparison`` is of the paper, with the line through its ImageNet models; of runs too, whose tables then
    come first. ``rows``: the claim per setting and set of CLIPs, fractions.
    """

    comparison: Comparison

    @property
    def rows(self) -> pl.DataFrame:
        """The claim."""
        return claim_by_setting(self.comparison.robustness.scale)

    @property
    def findings(self) -> Sequence[Finding]:
        """Those of the runs."""
        return self.comparison.findings if self.comparison.sources else ()

    @property
    def tables(self) -> list[Table]:
        """The runs if there are any, scaling, the claim."""
        robustness = self.comparison.robustness
        scaled = scaling_table(scaling(self.comparison.points, robustness))
        of_runs = self.comparison.tables if self.comparison.sources else ()
        return [*of_runs, scaled, claim_table(self.rows, robustness.scale)]

    @property
    def record(self) -> dict[str, Any]:
        """Everything, for JSON."""
        answers = scaling(self.comparison.points, self.comparison.robustness)
        # Named tuples would become bare lists.
        records = [
            asdict(each)
            | {"question": each.question, "verdict": each.verdict}
            | {name: getattr(each, name)._asdict() for name in ("effect", "alone")}
            | {"by_data_set": each.by_data_set and each.by_data_set._asdict()}
            for each in answers
        ]
        claims = {"scaling": {"answers": records}, "by_setting": self.rows.to_dicts()}
        return self.comparison.record | claims


@dataclass(frozen=True, eq=False, repr=False)
class Reproduction(TableView):
    """The paper's rows next to our values: what ``reproduce`` returns, and ``left_out`` as notes."""

    rows: pl.DataFrame
    notes: Sequence[str] = ()

    @property
    def tables(self) -> list[Table]:
        """The rows for readers."""
        return list(reproduction_tables(self.rows))
