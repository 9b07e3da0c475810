"""What every study leaves behind: tables as Parquet, figures, one HTML page, ``run.json``."""

from __future__ import annotations

import io
import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
from scipy.stats import t as student

from counterground._version import __version__
from counterground.errors import CounterGroundError, needs_extra
from counterground.files import (
    check_only,
    check_writable,
    read_json,
    write_bytes,
    write_parquet,
    write_text,
)
from counterground.results import Cell, Column, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_KINDS = ("svg", "png", "pdf")


class OverSeeds(NamedTuple):
    """A mean, its 95 % t interval, and the two-sided p-value against a mean of 0; None: not known."""

    mean: float | None
    low: float | None
    high: float | None
    p: float | None


def text_table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Return a table of texts: a caption, column heads, and rows that begin with their head."""
    return Table([Column(head) for head in heads], [list(map(Cell, row)) for row in rows], caption)


def interval(values: Any) -> OverSeeds:
    """Return the mean of one value per seed, with interval and p-value.

    One value has neither interval nor p-value, no value not even a mean; equal values have no p-value.
    """
    degrees = len(values) - 1
    mean = float(np.mean(values)) if len(values) else None
    if mean is None or not degrees:
        return OverSeeds(mean, None, None, None)
    error = float(np.std(values, ddof=1) / np.sqrt(len(values)))
    reach = float(student.ppf(0.975, degrees)) * error
    p = 2 * float(student.sf(abs(mean) / error, degrees)) if error > 0 else None
    return OverSeeds(mean, mean - reach, mean + reach, p)


@dataclass(frozen=True)
class Study:
    """The outcome of a study.

    Attributes:
        name: its name on the command line.
        title: heading of the page.
        answer: the result, in one or two sentences.
        facts: what its template, ``templates/<name>.html``, shows: tables, numbers.
        results: file stem -> frame, written as Parquet; fractions, not percent.
        figures: file stem -> figure, written as SVG, PNG and PDF.
        settings: everything needed to repeat the study, JSON-ready.
    """

    name: str
    title: str
    answer: str
    facts: Mapping[str, Any]
    results: Mapping[str, pl.DataFrame]
    figures: Mapping[str, Figure] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


def check_out(out: Path, name: str) -> None:
    """Refuse a folder that holds other files, before any work is done.

    Raises:
        MissingExtraError: matplotlib, which draws every study, is not installed.
        UsageError: the folder holds files that are not a study.
        CounterGroundError: the folder holds another study or run, or cannot be written.
    """
    with needs_extra("paper"):
        import_module("matplotlib")
    record = out / "run.json"
    if record.exists():
        with suppress(OSError, ValueError, TypeError, LookupError):
            if read_json(record)["study"] == name:
                return check_writable(out)
        raise CounterGroundError(f"{out} holds other files, not the study {name}: choose another --out.")
    # What a stopped study may have left.
    kinds = (*(f".{kind}" for kind in _KINDS), ".parquet", ".html")
    written = [path.name for path in out.glob("*") if path.suffix in kinds]
    check_only(out, [*written, "cells", "small", "trainings"], "a study")
    check_writable(out)
    return None


def write_study(study: Study, out: Path, trainings: pl.DataFrame | None = None, *, seconds: float) -> Path:
    """Write the study into the folder ``out``, ``run.json`` last; return the path of its page.

    Args:
        study: the outcome.
        out: the folder.
        trainings: a row per training; ``failed`` says why it diverged.
        seconds: how long the study took.

    Raises:
        CounterGroundError: the folder cannot be written; or everything was written, but trainings diverged.
    """
    reasons = None if trainings is None else trainings["failed"].drop_nulls().unique(maintain_order=True)
    diverged: list[str] = [] if reasons is None else reasons.to_list()
    failed = f"{len(diverged)} diverged, missing from the results: {diverged[0]}" if diverged else ""
    study = replace(study, answer=f"{study.answer} {failed}".strip())
    for stem, frame in study.results.items():
        write_parquet(out / f"{stem}.parquet", frame)
    drawn = {stem: _save(figure, out / stem) for stem, figure in study.figures.items()}
    page = out / "index.html"
    write_text(page, _page(study, drawn, seconds))
    record = {
        "study": study.name,
        "answer": study.answer,
        "settings": study.settings,
        "counterground_version": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": f"{platform.platform()}, {os.cpu_count()} cores",
        "libraries": {name: version(name) for name in ("matplotlib", "numpy", "polars", "scipy", "torch")},
        "seconds": round(seconds, 1),
    }
    write_text(out / "run.json", json.dumps(record, indent=2, ensure_ascii=False))
    if failed:
        raise CounterGroundError(f"{failed} The others are in {page}.")
    return page


def _save(figure: Figure, stem: Path) -> str:
    """Write the figure in three formats; return its SVG for the page."""
    from matplotlib import rc_context

    svg = ""
    for kind in _KINDS:
        buffer = io.BytesIO()
        # A fixed salt and no date: the same figure gives the same bytes.
        with rc_context({"svg.hashsalt": stem.name, "svg.fonttype": "none", "pdf.fonttype": 42}):
            dated = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[kind]
            figure.savefig(buffer, format=kind, dpi=200, metadata=dated)
        write_bytes(stem.with_suffix(f".{kind}"), buffer.getvalue())
        if kind == "svg":
            svg = buffer.getvalue().decode()
    return _inline(svg, stem.name)


def _inline(svg: str, name: str) -> str:
    """Return the ``<svg>`` element alone, its ids made unique on a page with several."""
    element = svg[svg.index("<svg") :]
    return re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", element)


def _page(study: Study, drawn: Mapping[str, str], seconds: float) -> str:
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("counterground.paper.study", "templates"), autoescape=True, trim_blocks=True
    )
    figures = {name: Markup(svg) for name, svg in drawn.items()}  # noqa: S704 - our own drawings
    return environment.get_template(f"{study.name}.html").render(
        study=study, **study.facts, figures=figures, seconds=round(seconds), version=__version__
    )
