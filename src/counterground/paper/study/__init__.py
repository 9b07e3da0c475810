"""Studies of the causes (paper section 6, appendix D), and what each writes: results, figures, page."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from scipy import stats

from counterground._version import __version__
from counterground.errors import CounterGroundError
from counterground.files import check_only, check_writable, read_json, write_parquet, write_text
from counterground.paper.style import FORMATS, print_style, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def digest_of(*arrays: np.ndarray[Any, Any]) -> str:
    """Return the SHA-256 of the arrays' contents and shapes."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(str(array.shape).encode() + array.tobytes())
    return digest.hexdigest()


def over_seeds(values: Sequence[float]) -> dict[str, float | None]:
    """Return the mean ``value`` of one value per seed, its 95 % t interval and the p of a mean of 0.

    One value has neither interval nor p-value, no value not even a mean; equal values have no p-value.
    """
    if len(values) < 2:
        return {"value": values[0] if len(values) else None, "low": None, "high": None, "p": None}
    mean, error, degrees = float(np.mean(values)), float(stats.sem(values)), len(values) - 1
    reach = float(stats.t.ppf(0.975, degrees)) * error
    p = 2 * float(stats.t.sf(abs(mean) / error, degrees)) if error > 0 else None
    return {"value": mean, "low": mean - reach, "high": mean + reach, "p": p}


@dataclass(frozen=True)
class Study:
    """The outcome of a study.

    Attributes:
        name: its name on the command line.
        title: heading of the page.
        answer: the result, in one or two sentences.
        about: what was done.
        results: file stem -> frame, written as Parquet; fractions, not percent.
        figures: file stem -> function that draws the figure, written as PDF, SVG and PNG.
        shown: stem -> caption of the figures and results on the page, in their order there.
        settings: everything needed to repeat the study, JSON-ready.
    """

    name: str
    title: str
    answer: str
    about: str
    results: Mapping[str, pl.DataFrame]
    figures: Mapping[str, Callable[[], Figure]]
    shown: Mapping[str, str]
    settings: Mapping[str, Any] = field(default_factory=dict)


def check_out(out: Path | str, name: str) -> Path:
    """Return the folder; refuse one that holds other files, before any work is done.

    Raises:
        MissingExtraError: matplotlib, which draws every study, is not installed.
        UsageError: the folder holds files that are not a study.
        CounterGroundError: the folder holds another study or run, or cannot be written.
    """
    out = Path(out)
    print_style()
    if (record := out / "run.json").exists():
        with suppress(OSError, ValueError, TypeError, LookupError):
            if read_json(record)["study"] == name:
                check_writable(out)
                return out
        raise CounterGroundError(f"{out} holds other files, not the study {name}: choose another --out.")
    # What a stopped study may have left.
    kinds = {".parquet", ".html", *(f".{kind}" for kind in FORMATS)}
    written = [path.name for path in out.glob("*") if path.suffix in kinds]
    check_only(out, [*written, "small", "trainings"], "a study")
    check_writable(out)
    return out


def write_study(study: Study, out: Path, trainings: pl.DataFrame | None = None) -> Path:
    """Write the study into the folder ``out``, ``run.json`` last; return the path of its page.

    Args:
        study: the outcome.
        out: the folder.
        trainings: a row per training; ``failed`` says why it diverged.

    Raises:
        CounterGroundError: the folder cannot be written; or everything was written, but trainings diverged.
    """
    from jinja2 import Environment, PackageLoader
    from markupsafe import Markup

    diverged: list[str] = [] if trainings is None else trainings["failed"].drop_nulls().unique().to_list()
    failed = f"{len(diverged)} diverged, missing from the results: {min(diverged)}" if diverged else ""
    answer = f"{study.answer} {failed}".strip()
    for stem, frame in study.results.items():
        write_parquet(out / f"{stem}.parquet", frame)
    with print_style():
        for stem, draw in study.figures.items():
            save_figure(draw(), out / stem, FORMATS)
    environment = Environment(loader=PackageLoader(__name__), autoescape=True, trim_blocks=True)
    drawn = {stem: (out / f"{stem}.svg").read_text("utf-8") for stem in study.figures}
    figures = {stem: Markup(svg[svg.index("<svg") :]) for stem, svg in drawn.items()}  # noqa: S704 - ours
    template, page = environment.get_template("study.html"), out / "index.html"
    write_text(page, template.render(study=study, figures=figures, version=__version__, answer=answer))
    record = {
        "study": study.name,
        "answer": answer,
        "settings": study.settings,
        "counterground_version": __version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "libraries": {name: version(name) for name in ("matplotlib", "numpy", "polars", "scipy", "torch")},
    }
    write_text(out / "run.json", json.dumps(record, indent=2, ensure_ascii=False))
    if failed:
        raise CounterGroundError(f"{failed} The others are in {page}.")
    return page
