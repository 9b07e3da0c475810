"""The data card and the credits of an export, and what a card states."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from counterground.construction.exports._layout import Contents, Tick, keep_paths
from counterground.construction.exports._licences import Licence, read_licence
from counterground.photos import Benchmark
from counterground.text import code, counted, markdown, one_line


@dataclass(frozen=True)
class CardFacts:
    """What the data card states; every field may stay empty: the card then says that it is unknown.

    Attributes:
        title: the collection's title; the benchmark's name if empty.
        description: what it is, in a few sentences.
        creators: who made the collection.
        url: its page.
        citation: how to cite it.
        licence: the collection's licence (selection and labels), if one holds for all of it.
        version: the collection's version, MAJOR.MINOR.PATCH.
    """

    title: str = ""
    description: str = ""
    creators: tuple[str, ...] = ()
    url: str = ""
    citation: str = ""
    licence: str = ""
    version: str = "1.0.0"


def how_pool_was_made(benchmark: Benchmark) -> str:
    """Return what a pool knows of its photos, in Markdown: origins, annotators, agreement, discarded photos.

    Empty for photos of no pool.

    Raises:
        CounterGroundError: the pool is damaged.
    """
    from counterground.construction.pool import is_pool, open_pool
    from counterground.construction.pool_page import agreement_words, summarise_pool, whole_pool

    if not is_pool(benchmark.root):
        return ""
    with open_pool(benchmark.root) as pool:
        summary = summarise_pool(pool)
    people = [f"{who} ({task}: {made:,})" for who, task, made, *_ in summary.annotators.iter_rows()]
    text = f"{summary.sentence()}\n\nDecisions: {markdown(', '.join(people)) or 'none'}.\n"
    if whole := [row for row in whole_pool(summary.agreement) if row["photos"]]:
        head = ("task", "photos with two annotators", "agreement, %", "Cohen's kappa", "Krippendorff's alpha")
        rows = [(row["task"], *agreement_words(row)) for row in whole]
        text += "\nAgreement of annotators:\n\n" + markdown_table((*head, "95 %"), rows)
    if summary.total("discarded"):
        reasons = (
            summary.discards.group_by("label").agg(pl.col("n").sum()).sort("n", "label", descending=True)
        )
        discarded = [(markdown(reason), count) for reason, count in reasons.iter_rows()]
        text += "\nDiscarded photos:\n\n" + markdown_table(("reason", "photos"), discarded)
    return text


@dataclass(frozen=True)
class ExportFormat:
    """A form in which others can read a benchmark.

    Another package adds one with an entry point of the group ``counterground.exports``. The card, the credits
    and the list of left-out photos are the same for all formats and are written by ``export``.

    Attributes:
        name: name for ``--format``, and the name of another package's entry point.
        summary: the first line of the card: what is in the folder.
        reader: Python code that opens the export, run in its folder.
        write: write photos, masks and manifest into a new folder; call the tick once for each photo.
        lay_out: decide the path of each photo in the export.
        describe: write files that describe the others, and return the text before the card, such as YAML for
            a hub.
    """

    name: str
    summary: str
    reader: str
    write: Callable[[Contents, Path, Tick], None]
    lay_out: Callable[[Benchmark], Contents] = keep_paths
    describe: Callable[[Benchmark, Statement, Path], str] | None = None


@dataclass(frozen=True)
class Statement:
    """What the card of one export says besides the photos; ``chosen`` is how they were, in Markdown."""

    format: ExportFormat
    facts: CardFacts
    chosen: str
    shared: bool
    remarks: tuple[str, ...]

    def title(self, benchmark: Benchmark) -> str:
        """Return what the collection is called."""
        return self.facts.title or benchmark.name


_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table; numbers are right-aligned."""
    right = [bool(rows) and all(isinstance(row[column], int) for row in rows) for column in range(len(head))]
    body = [[f"{value:,}" if isinstance(value, int) else str(value) for value in row] for row in rows]
    rule = ["---:" if number else "---" for number in right]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, rule, *body))


def csv_text(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return CSV whose cells no spreadsheet takes for a formula: those that begin like one get a ``'``."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([[_harmless(value) for value in row] for row in rows])
    return out.getvalue()


def _harmless(value: object) -> str:
    text = "" if value is None else one_line(str(value))
    return f"'{text}" if text.startswith(_FORMULA) else text


_METHOD = (
    "Wang et al., A Sober Look at the Robustness of CLIPs to Spurious Features, NeurIPS 2024"
    " (arXiv 2403.11497)"
)


def write_card(benchmark: Benchmark, statement: Statement, folder: Path, front_matter: str) -> None:
    """Write ``README.md``: what the collection is, what is in it, what one may do with it, how to read it."""
    form, facts = statement.format, statement.facts
    private = (
        "" if statement.shared else "**Not for redistribution.** This export was made for private use.\n\n"
    )
    about = (
        facts.description or "A benchmark of how much worse vision models get when the background changes."
    )
    classes = counted(benchmark.photos["class_index"].n_unique(), "class")
    size = f"{counted(len(benchmark), 'photo')} of {classes}"
    notes = "".join(f"- {markdown(note)}\n" for note in dict.fromkeys([*benchmark.notes, *statement.remarks]))
    # A format of another package is not read back.
    evaluate = "```console\ncounterground evaluate . -m MODEL --out ../run\n```\n"
    sections = (
        f"# {markdown(statement.title(benchmark))}\n\n{private}{markdown(about)}\n\n{size}. {form.summary}\n",
        f"## Notes\n\n{notes}" if notes else "",
        _counts(benchmark),
        f"## How the photos were chosen\n\n{statement.chosen or 'Not stated.'}\n",
        _licences(benchmark, facts.licence),
        f"## How to read it\n\nIn this folder:\n\n```python\n{form.reader}\n```\n",
        evaluate if (folder / "benchmark.json").is_file() else "",
        f"## Citation\n\n{markdown(citation(benchmark, statement))}\n\nMethod: {_METHOD}.\n",
        f"Content: `{benchmark.version}` (hash of manifest and classes).\n",
    )
    text = front_matter + "\n".join(section for section in sections if section)
    (folder / "README.md").write_text(text, encoding="utf-8", newline="\n")


def _counts(benchmark: Benchmark) -> str:
    photos = benchmark.photos
    columns = ["class_name", "background", *(["group"] if photos["group"].is_not_null().any() else [])]
    cells = photos.group_by("class_index", *columns).len().sort("class_index", *reversed(columns))
    rows = [
        (*(markdown(value or "not labelled") for value in labels), count)
        for _, *labels, count in cells.iter_rows()
    ]
    groups = Counter(photos["group"].drop_nulls())
    sizes = [f"{group} {groups[group]:,}" for group in ("common", "counter") if groups[group]]
    clusters = {column: photos[column].drop_nulls().n_unique() for column in benchmark.design.clusters}
    related = [
        f"{counted(number, 'cluster')} of related photos (column {code(column)})"
        for column, number in clusters.items()
        if number
    ]
    total = "; ".join([f"Photos: {len(photos):,}", *sizes, *related])
    return f"## Counts\n\n{total}.\n\n{markdown_table((*columns, 'photos'), rows)}"


def _licences(benchmark: Benchmark, own: str) -> str:
    counts = Counter(read_licence(text) for text in benchmark.photos["licence"])
    rows = [
        (
            markdown(licence.name),
            count,
            _permits(licence),
            " ".join(f"<{url}>" for url in licence.url.split()),
        )
        for licence, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0].name))
    ]
    return (
        f"## Licences\n\nThe collection (selection and labels): {markdown(own) or 'no licence is stated'}. "
        "Each photo keeps its author's licence; `ATTRIBUTION.csv` has author, licence and source of each. "
        "Licences stated without a version are shown as 4.0.\n\n"
        + markdown_table(("licence", "photos", "redistribution", "text"), rows)
    )


def _permits(licence: Licence) -> str:
    if licence.obstacle:
        return f"**no**: {markdown(licence.obstacle)}"
    limits = {"non-commercial": licence.noncommercial, "unchanged": licence.verbatim}
    return ", ".join(limit for limit, applies in limits.items() if applies) or "yes"


def citation(benchmark: Benchmark, statement: Statement) -> str:
    """Return how to cite the collection, in one line of plain text."""
    facts = statement.facts
    by = f"{', '.join(facts.creators)}. " if facts.creators else ""
    return facts.citation or f"{by}{statement.title(benchmark)}, version {facts.version}. {facts.url}".strip()


def write_attribution(benchmark: Benchmark, folder: Path) -> None:
    """Write ``ATTRIBUTION.csv``: path, class, credit line, licence, its text, source; one line per photo."""
    head = ("path", "class", "attribution", "licence", "licence_url", "source")
    columns = ("path", "class_name", "attribution", "licence", "source")
    rows: Iterable[Sequence[object]] = (
        (path, name, credit, read_licence(licence).name, read_licence(licence).url, source)
        for path, name, credit, licence, source in benchmark.photos.select(columns).iter_rows()
    )
    _write_csv(folder / "ATTRIBUTION.csv", csv_text(head, rows))


def write_left_out(left_out: pl.DataFrame, folder: Path) -> None:
    """Write ``left_out.csv`` if photos were left out: what they are in the source, licence, reason."""
    if not left_out.is_empty():
        _write_csv(folder / "left_out.csv", csv_text(left_out.columns, left_out.iter_rows()))


def _write_csv(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")
