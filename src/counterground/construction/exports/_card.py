"""The data card, the credits of all photos, and the list of photos left out."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import polars as pl

from counterground.construction.exports._facts import Agreement, CardFacts
from counterground.construction.exports._format import Statement
from counterground.construction.exports._licences import read_licence
from counterground.photos import Benchmark
from counterground.text import code, counted, decimal, markdown, one_line

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table; numbers are right-aligned."""
    body = [list(row) for row in rows]
    right = [bool(body) and all(isinstance(row[column], int) for row in body) for column in range(len(head))]
    lines = [
        "| " + " | ".join(head) + " |",
        "|" + "|".join("---:" if number else "---" for number in right) + "|",
    ]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in body]
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


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
    sections = (
        _heading(benchmark, statement),
        _what_for(benchmark, statement),
        _counts(benchmark),
        _how_chosen(statement.facts),
        _licences(benchmark, statement),
        _reading(statement.format.reader, folder),
        _citing(benchmark, statement),
    )
    text = front_matter + "\n".join(sections)
    (folder / "README.md").write_text(text, encoding="utf-8", newline="\n")


def _heading(benchmark: Benchmark, statement: Statement) -> str:
    private = "**Not for redistribution.** This export was made for private use.\n\n"
    about = markdown(statement.facts.description) or (
        "A benchmark of how much vision models rely on the background rather than the object."
    )
    classes = benchmark.photos["class_index"].n_unique()
    return (
        f"# {markdown(statement.title(benchmark))}\n\n{'' if statement.shared else private}{about}\n\n"
        f"{counted(len(benchmark), 'photo')} of {counted(classes, 'class')}. "
        f"{statement.format.summary}\n"
    )


def _what_for(benchmark: Benchmark, statement: Statement) -> str:
    notes = [*benchmark.notes, *(remark for remark in statement.remarks if remark not in benchmark.notes)]
    if not notes:
        return ""
    return "## Notes\n\n" + "".join(f"- {markdown(note)}\n" for note in notes)


def _counts(benchmark: Benchmark) -> str:
    photos = benchmark.photos.with_columns(
        pl.col("background").fill_null("not labelled"), pl.col("group").fill_null("")
    )
    cells = (
        photos.group_by("class_index", "class_name", "background", "group")
        .len()
        .sort("class_index", "group", "background")
    )
    grouped = bool(benchmark.photos["group"].is_not_null().any())
    rows = [
        [markdown(name), markdown(background), *([group] if grouped else []), count]
        for _, name, background, group, count in cells.iter_rows()
    ]
    head = ["class", "background", *(["group"] if grouped else []), "photos"]
    groups = Counter(benchmark.photos["group"].drop_nulls().to_list())
    counts = [f"{group} {groups[group]:,}" for group in ("common", "counter") if groups[group]]
    for column in benchmark.design.clusters:
        if clusters := benchmark.photos[column].drop_nulls().n_unique():
            which = "" if column == "cluster" else f" (column {code(column)})"
            counts.append(f"{counted(clusters, 'cluster')} of related photos{which}")
    total = "; ".join([f"Photos: {len(benchmark):,}", *counts])
    return f"## Counts\n\n{total}.\n\n{markdown_table(head, rows)}"


def _how_chosen(facts: CardFacts) -> str:
    sentences = [markdown(sentence) for sentence in facts.chosen]
    if facts.tasks:
        people = ", ".join(f"{number:,} for {task}" for task, number in facts.tasks.items())
        sentences.append(f"People who decided on them: {people}.")
    text = "## How the photos were chosen\n\n" + (" ".join(sentences) or "Not stated.") + "\n"
    if facts.agreement:
        head = ("task", "photos with two annotators", "agreement", "Cohen's kappa", "Krippendorff's alpha")
        text += "\nAgreement of annotators:\n\n" + markdown_table(head, map(_agreement_row, facts.agreement))
    if facts.discarded:
        rows = [(markdown(reason), count) for reason, count in facts.discarded.items()]
        text += "\nDiscarded photos:\n\n" + markdown_table(("reason", "photos"), rows)
    return text


def _agreement_row(found: Agreement) -> Sequence[object]:
    kappa, alpha = (
        "undefined" if value is None else decimal(value, 3) for value in (found.kappa, found.alpha)
    )
    return (markdown(found.task), found.photos, f"{100 * found.alike:.1f} %", kappa, alpha)


def _licences(benchmark: Benchmark, statement: Statement) -> str:
    counts = Counter(read_licence(text) for text in benchmark.photos["licence"])
    rows = [
        [
            markdown(licence.name),
            count,
            _permits(licence.obstacle, licence.noncommercial, licence.verbatim),
            url,
        ]
        for licence, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0].name))
        for url in [" ".join(f"<{part}>" for part in licence.url.split())]
    ]
    own = statement.facts.licence
    collection = (
        f"The collection (selection and labels): {markdown(own)}. "
        if own
        else "No licence is stated for the collection (selection and labels). "
    )
    return (
        f"## Licences\n\n{collection}Each photo keeps its author's licence; `ATTRIBUTION.csv` has author,"
        " licence and source of every one. Licences stated without a version are shown as 4.0.\n\n"
        + markdown_table(("licence", "photos", "redistribution", "text"), rows)
    )


def _permits(obstacle: str, noncommercial: bool, verbatim: bool) -> str:
    if obstacle:
        return f"**no**: {markdown(obstacle)}"
    limits = [*(["non-commercial"] if noncommercial else []), *(["unchanged"] if verbatim else [])]
    return ", ".join(limits) or "yes"


def _reading(reader: str, folder: Path) -> str:
    text = f"## How to read it\n\nIn this folder:\n\n```python\n{reader}\n```\n"
    if (folder / "benchmark.json").is_file():  # else another package's format, which we do not read
        text += "\n```console\ncounterground evaluate . -m MODEL --out ../run\n```\n"
    return text


def _citing(benchmark: Benchmark, statement: Statement) -> str:
    return (
        f"## Citation\n\n{markdown(citation(benchmark, statement))}\n\nMethod: {_METHOD}.\n\n"
        f"Content: `{benchmark.version}` (hash of manifest and classes).\n"
    )


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
