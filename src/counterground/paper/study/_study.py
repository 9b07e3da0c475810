"""What every study leaves behind: tables as Parquet, figures, one HTML page, ``run.json``."""

from __future__ import annotations

import io
import json
import os
import platform
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from counterground._version import __version__
from counterground.errors import CounterGroundError, UsageError, needs_extra
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


def text_table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """Return a table of texts: a caption, column heads, and rows that begin with their head."""
    return Table([Column(head) for head in heads], [list(map(Cell, row)) for row in rows], caption)


def check_setting(name: str, values: Iterable[Any], fits: Callable[[Any], bool], what: str) -> None:
    """Check that a setting of a study has values, all of which fit.

    Raises:
        UsageError: it has no value, or one that does not fit.
    """
    chosen = list(values)
    if not chosen:
        raise UsageError(f"A study needs a value of {name}.")
    for value in chosen:
        if not fits(value):
            raise UsageError(f"{name} must be {what}, not {value!r}.")


def _plain(number: Any) -> Any:
    """Return a number of NumPy, which settings may hold, as one that JSON has."""
    return number.item()


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
    if record.exists() and _name_in(record) != name:
        raise CounterGroundError(f"{out} holds other files, not the study {name}: choose another --out.")
    if not record.exists():
        check_only(out, _written_in(out), "a study")
    check_writable(out)


def _written_in(out: Path) -> list[str]:
    """Return what a stopped study may have left: tables, figures, the page, and folders of trainings."""
    kinds = (*(f".{kind}" for kind in _KINDS), ".parquet", ".html")
    files = [path.name for path in out.glob("*") if path.is_file() and path.suffix in kinds]
    return [*files, "cells", "small", "trainings"]


def _name_in(record: Path) -> str | None:
    try:
        content = read_json(record)
    except (OSError, ValueError):
        return None
    return content.get("study") if isinstance(content, dict) else None


def write_study(study: Study, out: Path, *, seconds: float, failed: str = "") -> Path:
    """Write the study into the folder ``out``, ``run.json`` last; return the path of its page.

    Args:
        study: the outcome.
        out: the folder.
        seconds: how long the study took.
        failed: a sentence about diverged trainings, which becomes part of the answer; empty if none did.

    Raises:
        CounterGroundError: see `check_out`; or everything was written, but trainings diverged.
    """
    check_out(out, study.name)
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
    write_text(out / "run.json", json.dumps(record, indent=2, ensure_ascii=False, default=_plain))
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
