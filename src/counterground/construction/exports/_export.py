"""Export a benchmark: select, lay out, copy and describe its photos; the folder appears in one rename."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from counterground._version import __version__
from counterground.benchmarks import open_apart
from counterground.construction.exports._card import (
    ExportFormat,
    Statement,
    how_pool_was_made,
    read_licence,
    write_card,
    write_credits,
)
from counterground.construction.exports._formats import (
    COUNTERANIMAL,
    CROISSANT,
    HUGGINGFACE,
    INSPECT,
    PARQUET,
    WEBDATASET,
)
from counterground.construction.settings import ExportSettings
from counterground.errors import CounterGroundError, UsageError, did_you_mean
from counterground.files import draft_folder, given_path, read_json, write_text
from counterground.photos import EXPORT_FILE, Benchmark
from counterground.plugins import Registry
from counterground.progress import progress_bar
from counterground.text import counted

LEFT_OUT_SCHEMA: dict[str, pl.DataType] = dict.fromkeys(
    ("path", "class_name", "background", "group", "licence", "reason"), pl.String()
)
_FORMATS = Registry(
    "counterground.exports",
    ExportFormat,
    {each.name: each for each in (COUNTERANIMAL, CROISSANT, HUGGINGFACE, INSPECT, PARQUET, WEBDATASET)},
)
FORMATS = tuple(_FORMATS.built_in)


@dataclass(frozen=True, eq=False)
class ExportReport:
    """What was exported.

    Attributes:
        folders: folders by format.
        photos: number of photos exported.
        left_out: photos left out: path, class_name, background, group, licence, reason.
        notes: sentences for whoever exports.
    """

    folders: dict[str, Path]
    photos: int
    left_out: pl.DataFrame
    notes: tuple[str, ...]


def export(
    benchmark: Benchmark | Path | str,
    out: Path | str,
    formats: str | Sequence[str],
    settings: ExportSettings | None = None,
) -> ExportReport:
    """Write a benchmark as one or more folders that stand alone, each with a data card and all credits.

    The folder appears in one rename. Each photo is compared with its hash while it is copied.

    Args:
        benchmark: a built-in name, a folder, a manifest, a pool, or an opened benchmark.
        out: the folder; a new one or an empty one.
        formats: some of ``FORMATS``, or of those other packages add; one is written to ``out``, several to
            ``out/<format>``.
        settings: which photos, and what the data card says beyond them; how they were chosen is what their
            pool knows.

    Raises:
        UsageError: a format or licence is unknown, the benchmark is of composites or has a
            column whose name a format uses itself, or ``out`` holds something else, or the benchmark itself.
        CounterGroundError: no photo may be shared; a file is missing or changed; ``out`` cannot be written.
    """
    chosen = settings or ExportSettings()
    benchmark = open_apart(benchmark, out, show_progress=chosen.show_progress)
    known, forms = _FORMATS.names(), []
    for name in dict.fromkeys([formats] if isinstance(formats, str) else formats):
        if (form := _FORMATS.find(name)) is None:
            raise UsageError(f"Unknown format {name!r}: use {', '.join(known)}.{did_you_mean(name, known)}")
        if taken := set(form.reserved) & set(benchmark.photos.columns):
            raise UsageError(
                f"{benchmark.name} has a column {min(taken)!r}, a name that the format {name} uses itself: "
                "rename it in the manifest, or choose another format."
            )
        forms.append(form)
    if not forms:
        raise UsageError(f"Name at least one format: {', '.join(known)}.")
    benchmark.check_files("export")
    out = given_path(str(out)).resolve()
    _check_replaceable(out, chosen.overwrite)
    photos, stated = _state_licence(benchmark.photos, chosen)
    kept, left_out, notes = _select(replace(benchmark, photos=photos), chosen)
    if stated:
        notes.append(
            f"Licence stated by the exporter ({chosen.licence_for_unknown}): {counted(stated, 'photo')}."
        )
    contents = [form.lay_out(kept) for form in forms]
    folders = {form.name: out / form.name if len(forms) > 1 else out for form in forms}
    total, origin = len(kept) * len(forms), how_pool_was_made(benchmark)
    with progress_bar("Exporting", total=total, shown=chosen.show_progress) as bar, _new_folder(out) as draft:
        for form, laid_out in zip(forms, contents, strict=True):
            folder = draft / folders[form.name].relative_to(out)
            folder.mkdir(exist_ok=True)
            form.write(laid_out, folder, bar.advance)
            statement = Statement(form, chosen, origin, (*notes, *laid_out.notes))
            _describe(laid_out.benchmark, statement, left_out, folder)
        if len(forms) > 1:
            _write_mark(draft, formats=list(folders))
    notes += [note for laid_out in contents for note in laid_out.notes]
    return ExportReport(folders, len(kept), left_out, tuple(dict.fromkeys(notes)))


def _describe(benchmark: Benchmark, statement: Statement, left_out: pl.DataFrame, folder: Path) -> None:
    """Write all that is beside the photos: credits, what was left out, the card, the format's own files."""
    form = statement.format
    write_credits(benchmark, left_out, folder)
    front_matter = form.describe(benchmark, statement, folder) if form.describe else ""
    write_card(benchmark, statement, folder, front_matter)
    _write_mark(
        folder,
        format=form.name,
        shared=not statement.settings.private,
        photos=len(benchmark),
        left_out=len(left_out),
        version=benchmark.version,
    )


def _state_licence(photos: pl.DataFrame, settings: ExportSettings) -> tuple[pl.DataFrame, int]:
    """Fill in licence and credit line where no licence is stated; return for how many photos."""
    licence, credit = settings.licence_for_unknown, settings.attribution_for_unknown
    if licence is None:
        if credit is not None:
            raise UsageError("--attribution-for-unknown goes with --licence-for-unknown: add that.")
        return photos, 0
    if obstacle := read_licence(licence).obstacle:
        raise UsageError(f"--licence-for-unknown: {obstacle}. Use a code such as cc0, cc-by, cc-by-nc.")
    unknown = pl.col("licence").fill_null("").str.strip_chars() == ""
    uncredited = unknown & (pl.col("attribution").fill_null("").str.strip_chars() == "")
    stated = photos.with_columns(
        pl.when(unknown).then(pl.lit(licence.strip())).otherwise("licence").alias("licence"),
        pl.when(uncredited).then(pl.lit(credit, pl.String)).otherwise("attribution").alias("attribution"),
    )
    return stated, int(photos.select(unknown.sum()).item())


def _select(benchmark: Benchmark, settings: ExportSettings) -> tuple[Benchmark, pl.DataFrame, list[str]]:
    """Return the benchmark of the photos that go into the export, those left out, and notes on both.

    Raises:
        CounterGroundError: no photo is left.
    """
    photos = benchmark.photos
    licences = {text: read_licence(text) for text in photos["licence"]}
    reasons = pl.Series("reason", [licences[text].obstacle for text in photos["licence"]], pl.String)
    forbidden = photos.with_columns(reasons).filter(reasons != "").select(*LEFT_OUT_SCHEMA)
    left_out = forbidden.clear() if settings.private else forbidden
    kept = photos.join(left_out.select("path"), on="path", how="anti", maintain_order="left")
    tally = "; ".join(f"{reason}: {n:,}" for reason, n in Counter(left_out["reason"]).most_common())
    if kept.is_empty():
        raise CounterGroundError(
            f"No photo of {benchmark.name!r} may be shared ({tally}). If they are "
            "yours, state their licence with --licence-for-unknown; for your own use, export with --private."
        )
    notes = []
    if len(left_out):
        notes.append(
            f"{len(left_out):,} of {counted(len(photos), 'photo')} left out of this export, because the "
            f"licence does not allow sharing ({tally})."
        )
    if gone := sorted(set(photos["class_name"]) - set(kept["class_name"])):
        notes.append(f"No photo is left of: {', '.join(gone)}.")
    chosen = replace(benchmark, photos=kept, notes=(*benchmark.notes, *notes))
    credited = [
        (licences[text], (credit or "").strip()) for text, credit in kept["licence", "attribution"].rows()
    ]
    remarks = {
        "For non-commercial use only (NC)": sum(licence.noncommercial for licence, _ in credited),
        "To be shared only unchanged, without crops or edits (ND)": sum(x.verbatim for x, _ in credited),
        "Credit line required by the licence but missing: add it before sharing, in a column attribution": (
            sum(licence.needs_credit and not credit for licence, credit in credited)
        ),
    }
    return chosen, left_out, notes + [f"{text}: {counted(n, 'photo')}." for text, n in remarks.items() if n]


def _write_mark(folder: Path, **record: Any) -> None:
    """Write ``export.json``: the record, and the top-level entries of a folder that may be replaced."""
    entries = sorted([*(entry.name for entry in folder.iterdir()), EXPORT_FILE])
    record = {"made_by": f"counterground {__version__}", **record, "entries": entries}
    write_text(folder / EXPORT_FILE, json.dumps(record, ensure_ascii=False, indent=1) + "\n")


def _check_replaceable(out: Path, overwrite: bool) -> None:
    """Refuse what an export must not replace.

    Raises:
        UsageError: ``out`` is a file, or a folder that holds anything but an earlier export, or one that
            was not to be replaced.
    """
    if out.is_file():
        raise UsageError(f"{out} is a file: choose a folder.")
    present = {entry.name for entry in out.iterdir()} if out.exists() else set()
    try:
        exported = set(read_json(out / EXPORT_FILE)["entries"]) if present else set()
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(f"{out} holds files that are not an export: choose a new folder.") from None
    if extra := sorted(present - exported):
        raise UsageError(
            f"{out} holds {extra[0]!r} beside an earlier export: move it elsewhere, or choose another folder."
        )
    if present and not overwrite:
        raise UsageError(f"{out} holds an export. Choose another --out, or replace it with --overwrite.")


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """Yield a draft beside ``out`` that takes its place at the end; a failure leaves ``out`` as it was.

    A killed process leaves a hidden draft, which the next export to ``out`` removes. Nothing is fsynced:
    after a power cut, the hashes in the export tell what is damaged.

    Raises:
        CounterGroundError: it cannot be written.
    """
    try:
        with draft_folder(out) as draft:
            yield draft
            with draft_folder(out) as aside:
                if out.exists():
                    out.rename(aside / "replaced")
                draft.rename(out)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = (error.strerror if isinstance(error, OSError) else "") or str(error).splitlines()[0]
        raise CounterGroundError(
            f"Cannot write {out}: {reason}. Free some space there or choose another folder."
        ) from error
