"""The paper's rows next to our values: printed, ours, difference, and what is known about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import polars as pl

from counterground.comparison import (
    PaperRow,
    paper_row,
    reproduction_rows,
    run_names,
    why_not_paper,
)
from counterground.errors import UsageError
from counterground.metrics import COMPETING, DROP, KEYS, ScoreKey
from counterground.published import SETTINGS, load_table, published_models
from counterground.results import AnyRuns, Cell, Column, Run, Table, TableView, open_runs, short_name
from counterground.text import percent, signed

REPRODUCTION_SCHEMA: dict[str, Any] = {
    "table": pl.String,
    "model": pl.String,
    "family": pl.String,
    "checkpoint": pl.String,
    "source": pl.String,
    "spec": pl.String,
    "names": pl.String,
    **{
        f"{figure}_{part}": pl.Float64
        for figure in ("common", "counter", "drop")
        for part in ("printed", "ours", "difference")
    },
    "note": pl.String,
}
"""Columns of ``reproduce``; accuracies, drops and differences (ours - printed) are fractions."""

_FIGURES = ("common", "counter", "drop")
_QUICKGELU = (
    "Trained with QuickGELU. As trained, the 2025 reproduction got 70.1 / 41.3: the paper's figures seem to "
    "come from loading it with GELU (?as_published), as OpenCLIP did then under the plain name."
)
_KNOWN = {
    "CLIP-LAION400M-ViT/B/32": _QUICKGELU,
    "CLIP-DFN2B-ViT/B/16": "Trained with QuickGELU; OpenCLIP had it under a plain name (GELU) then. Which "
    "the paper used is not known.",
    "CLIP-LAION2B-ConvNext/BW": "The 2025 reproduction got 77.1 / 56.3, 16 points above the paper. An "
    "-augreg variant of the tag exists.",
    "CLIP-LAION2B-ViT/bigG/14": "The 2025 reproduction got 88.5 on common photos, 0.9 above the paper.",
    "CLIP-DataComp1B-ViT/B/32": "The 2025 reproduction got 75.6 / 53.5, 0.3 below the paper.",
    "ConvNext/L": "The 2025 reproduction got 82.4 on counter photos, 1.0 above the paper.",
}
_SETUPS = (("1v1000", "simple"), ("1v1000", "openai"), ("1v20", "simple"))
_KNOWN_OF = ("Table 3", "Table 4")
_Key = tuple[str, str | None]


def reproduce(runs: AnyRuns = ()) -> pl.DataFrame:
    """Put our values next to the paper's rows; without runs, those of the 2025 reproduction.

    Weights are matched, not names: an OpenCLIP tag, the same weights on the hub, or torchvision's first
    weights belong to one row, whatever activation they ran with. The prompts and the label space of a run
    choose the table: 3 and 4 (1 vs. 1000), 10 (80 prompts), 13 and 14 (1 vs. 20), 9 (other checkpoints)
    and, for LVLMs, 5. A row that was run in several ways appears once for each; one that was not run appears
    once, without values. ``counterground paper reproduce`` does the same.

    Args:
        runs: runs or their folders.

    Returns:
        The columns of ``REPRODUCTION_SCHEMA``, in the order of the paper.

    Raises:
        UsageError: no run was measured on CounterAnimal in a setting of the paper, or a run is given twice.
        CounterGroundError: a run cannot be read.
    """
    listed = open_runs(runs)
    if not listed:
        rows = [{**row, "checkpoint": None, "spec": None} for row in reproduction_rows()]
        return _beside("1v1000", "simple", rows)
    obstacles = [why_not_paper(run) for run in listed]
    usable = [(n, run) for n, run, why in zip(run_names(listed), listed, obstacles, strict=True) if not why]
    if not usable:
        raise UsageError(f"`paper reproduce` takes runs on CounterAnimal with both groups: {obstacles[0]}.")
    measured: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for name, run in usable:
        for row in _measured(name, run):
            measured.setdefault((row["setup"], row["prompts"]), []).append(row)
    if not measured:
        raise UsageError(" ".join(["There is nothing to reproduce.", *left_out(listed)]))
    return pl.concat([_beside(*table, rows) for table, rows in measured.items()])


def left_out(runs: AnyRuns) -> list[str]:
    """Return a sentence for each run, setting or model for which ``reproduce`` has no row of the paper.

    Raises:
        UsageError: a run is given twice.
        CounterGroundError: a run cannot be read.
    """
    listed = open_runs(runs)
    sentences = []
    for name, run in zip(run_names(listed), listed, strict=True):
        if why := why_not_paper(run):
            sentences.append(f"{name} is left out: {why}.")
            continue
        measured = {row["spec"] for row in _measured(name, run)}
        lacking = [record.name for record in run.info.models if record.name not in measured]
        if lacking:
            sentences.append(f"{name}: the paper has no row for {', '.join(lacking)} as they were run.")
    return sentences


def _printed(setup: str, prompts: str) -> list[dict[str, Any]]:
    """The paper's rows of one setup, each with its table and checkpoint."""
    setting = next(
        each
        for each in SETTINGS.values()
        if (each.setup, each.prompts, each.averaging) == (setup, prompts, "balanced")
    )
    frame = published_models(setting.name)
    if prompts == "openai":  # classifiers read no prompt: their rows are with those of one prompt
        frame = frame.filter(family="clip")
    rows = [
        {
            **row,
            "table": setting.classifiers if row["family"] == "imagenet" else setting.clips,
            "checkpoint": None,
        }
        for row in frame.iter_rows(named=True)
    ]
    if setup == "1v20":
        generative = load_table("lvlm_results").iter_rows(named=True)
        rows += [{**row, "family": "lvlm", "checkpoint": None} for row in generative]
    if (setup, prompts) == ("1v1000", "simple"):
        rows += _other_checkpoints()
    return rows


def _other_checkpoints() -> list[dict[str, Any]]:
    """The rows of Table 9 whose weights are not those of Table 3."""
    table = load_table("clip_results").filter(pl.col("table") == "Table 9")
    first = load_table("clip_results").filter(pl.col("table") == "Table 3")
    new = table.join(first, on=["backbone", "pretrain_dataset", "common", "counter"], how="anti")
    return [
        {**row, "model": f"CLIP-{row['pretrain_dataset']}-{row['backbone']}", "family": "clip"}
        for row in new.iter_rows(named=True)
    ]


def _beside(setup: str, prompts: str, ours: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Return the paper's rows of one setup with our values of the same model and checkpoint."""
    values: dict[_Key, list[Mapping[str, Any]]] = {}
    for row in ours:
        values.setdefault((row["model"], row["checkpoint"]), []).append(row)
    rows = []
    for row in _printed(setup, prompts):
        known = _KNOWN.get(row["model"]) if row["table"] in _KNOWN_OF else None
        base = row | {"note": " ".join(text for text in (row["note"], known) if text) or None}
        base |= {f"{name}_printed": row[name] / 100 for name in _FIGURES}
        for mine in values.get((row["model"], row["checkpoint"]), [{}]):
            beside = {name: mine.get(name) for name in ("source", "spec", "names")}
            for name in _FIGURES:
                value = beside[f"{name}_ours"] = mine.get(name)
                beside[f"{name}_difference"] = None if value is None else value - base[f"{name}_printed"]
            rows.append({name: (base | beside)[name] for name in REPRODUCTION_SCHEMA})
    return pl.DataFrame(rows, schema=REPRODUCTION_SCHEMA)


def _measured(name: str, run: Run) -> Iterator[dict[str, Any]]:
    """Return the models of a run that the paper has, in the settings that it has tables for."""
    known = {record.name: row for record in run.info.models if (row := paper_row(record))}
    overall = run.scores().filter(pl.col("model").is_in(list(known)))
    for key, part in overall.group_by(KEYS, maintain_order=True):
        setting = dict(zip(KEYS, key, strict=True))
        row = known[setting["model"]]
        table = _setup(row, setting)
        if table in _SETUPS and (row.model, row.checkpoint) in _models_of(table):
            figures = {ScoreKey.of(each): each["value"] for each in part.iter_rows(named=True)}
            keys = zip(_FIGURES, (*DROP.side_keys, DROP.difference_key), strict=True)
            yield {
                "model": row.model,
                "checkpoint": row.checkpoint,
                "setup": table[0],
                "prompts": table[1],
                "source": name,
                "spec": setting["model"],
                "names": setting["names"],
                **{figure: figures.get(key) for figure, key in keys},
            }


def _setup(row: PaperRow, setting: dict[str, str]) -> tuple[str | None, str]:
    """How many names compete and the prompts, as the paper's tables have them."""
    prompts, protocol = setting["prompts"], setting["protocol"]
    if row.table == "Table 5":
        prompts = "simple" if protocol == "answer-loss" else protocol
    if row.table == "Table 4":  # a classifier reads no prompt, whichever the CLIPs of its run were given
        prompts = "simple"
    return {"imagenet": "1v1000", "confusable": "1v20"}.get(setting[COMPETING]), prompts


@cache
def _models_of(table: tuple[str, str]) -> frozenset[_Key]:
    return frozenset((row["model"], row["checkpoint"]) for row in _printed(*table))


def _table(name: str, part: pl.DataFrame) -> Table:
    columns = [Column("Model")]
    for group in ("Common", "Counter", "Drop"):
        columns += [Column(f"{group} paper", True), Column("ours", True), Column("diff.", True, minor=True)]
    notes = dict.fromkeys(part["note"].drop_nulls())
    numbers = {note: f" ({number})" for number, note in enumerate(notes, start=1)}
    rows = []
    for row in part.iter_rows(named=True):
        model = " ".join(filter(None, (short_name(row["model"]), row["checkpoint"])))
        model += numbers.get(row["note"], "")
        if part.filter(model=row["model"]).height > 1 and row["spec"]:
            model += f" [{row['source']}, {row['spec']}, {row['names']} names]"
        cells = [Cell(model)]
        for figure in _FIGURES:
            difference = row[f"{figure}_difference"]
            cells += [Cell(percent(row[f"{figure}_{end}"])) for end in ("printed", "ours")]
            cells.append(Cell("" if difference is None else signed(difference)))
        rows.append(cells)
    title, models = f"{name} of the paper and our values", part.select("model", "checkpoint").unique()
    known = part.drop_nulls("common_ours").select("model", "checkpoint").unique()
    sentences = [f"{known.height} of {models.height} rows were run."]
    sentences += [f"{number.strip()} {note}" for note, number in numbers.items()]
    return Table(columns, rows, " ".join(sentences), title)


@dataclass(frozen=True, eq=False, repr=False)
class Reproduction(TableView):
    """The paper's rows next to our values: what ``reproduce`` returns, and ``left_out`` as notes."""

    rows: pl.DataFrame
    notes: Sequence[str] = ()

    @property
    def tables(self) -> list[Table]:
        """One table for each of the paper's."""
        return [
            _table(str(name), part)
            for (name,), part in self.rows.group_by("table", maintain_order=True)
            if part["common_ours"].count() or name in _KNOWN_OF
        ]
