"""The data card and the credits of an export, and what a card states."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import polars as pl

from counterground.construction.exports._layout import Contents, Tick, keep_paths
from counterground.construction.settings import ExportSettings
from counterground.files import write_text
from counterground.photos import Benchmark
from counterground.text import code, counted, markdown, one_line

# The jurisdictions of Creative Commons: not any two letters, since "CC BY 4.0 NC" is not a known licence.
_PORTS = (
    "ar at au az be bg br ca ch cl cn co cr cz de dk ec ee eg es fi fr ge gr gt hk hr hu ie igo il in it jp"
    " kr lu mk mt mx my nl no nz pe ph pl pr pt ro rs scotland se sg si th tw ug uk us ve vn za"
)
_JURISDICTION = f"(?P<port>{'|'.join(_PORTS.split())})"
_CC = re.compile(
    r"(?:creative commons |cc[ -]?)(?P<terms>(?:attribution|by)(?:[ -](?:nc|nd|sa|noncommercial|noderivatives"
    r"|noderivs|sharealike))*)(?:[ -]?v?(?P<version>[1-4]\.[05])(?:[ -]" + _JURISDICTION + r")?)?"
    r"(?:[ -](?:international|unported|generic))?"
)
# Anything else after an address may be another licence or a condition.
_URL_TAIL = r"/?(?:(?:deed|legalcode)(?:\.[a-z]{2,3}(?:-[a-z]{2,4})?)?)?(?:\?[^#\s]*)?(?:#\S*)?"
_CC_URL = re.compile(
    r"(?:https?://)?(?:www\.)?creativecommons\.org/licen[sc]es/(?P<terms>by(?:-(?:nc|nd|sa))*)"
    r"(?:/(?P<version>[1-4]\.[05])(?:/" + _JURISDICTION + r")?)?" + _URL_TAIL
)
_CC0 = re.compile(
    r"cc[ -]?0(?:[ -]1\.0)?(?: universal)?|cc[ -]zero"
    r"|(?:https?://)?(?:www\.)?creativecommons\.org/publicdomain/zero(?:/1\.0)?" + _URL_TAIL
)
_PUBLIC_DOMAIN = re.compile(
    r"pd|pdm(?:[ -]1\.0)?|public[ -]domain(?: mark)?(?: 1\.0)?"
    r"|(?:https?://)?(?:www\.)?creativecommons\.org/publicdomain/mark(?:/1\.0)?" + _URL_TAIL
)
_FREE_SOFTWARE = re.compile(
    r"(?:a|l)?gpl(?:[ -]?v?[123](?:\.[01])?)?(?:\+|[ -](?:only|or[ -]later))?"
    r"|apache(?:[ -]2(?:\.0)?)?|mit|expat|bsd(?:-[234]-clause)?|isc|zlib|mpl[ -]2\.0|artistic(?:[ -]2\.0)?"
    r"|ofl[ -]1\.1|gfdl(?:[ -]1\.[123])?(?:\+|-only|-or-later)?|fal(?:[ -]1\.3)?|free art licen[cs]e"
)
_RESERVED = re.compile(
    r"(?:c|©|copyright(?:ed)?)?[ ,.]*all[ -]rights[ -]reserved\.?|c|©|copyright(?:ed)?|proprietary|none"
)
_SEPARATOR = re.compile(r"[;()]|\bor\b|\band\b")
# Remarks of the built-in benchmarks that restrict nothing.
_HARMLESS = frozenset(
    {"as debian states", "background", "cut-out", "generic", "international", "per file", "unported"}
    | {"some rights reserved"}
)
_SHORT = {
    "attribution": "by",
    "noncommercial": "nc",
    "noderivatives": "nd",
    "noderivs": "nd",
    "sharealike": "sa",
}
_LONGEST = 1000  # characters; a longer text does not state a licence, and takes minutes to parse
CC0 = "https://creativecommons.org/publicdomain/zero/1.0/"
PUBLIC_DOMAIN = "https://creativecommons.org/publicdomain/mark/1.0/"


@dataclass(frozen=True)
class Licence:
    """What is known of one licence.

    Attributes:
        name: name shown in tables.
        url: address of its text; empty if there is none.
        obstacle: why the photo must not be shared; empty if it may.
        needs_credit: whether the author must be named.
        noncommercial: only for non-commercial purposes.
        verbatim: only unchanged (no derivatives).
    """

    name: str
    url: str = ""
    obstacle: str = ""
    needs_credit: bool = False
    noncommercial: bool = False
    verbatim: bool = False


@cache
def read_licence(text: str | None) -> Licence:
    """Return what is known of a licence as a manifest states it.

    Known are the Creative Commons licences (codes, names, URLs; 4.0 if no version is given, as iNaturalist's
    are), CC0 and public domain, the usual free licences, and "all rights reserved". Several, separated by
    ``;``, "and" or "or", or in brackets, all apply: a photo may be shared only if each allows it. Any other
    remark makes a licence unknown, except some that restrict nothing, such as "(per file)".
    """
    if text is None or not text.strip():
        return Licence("not stated", obstacle="no licence is stated")
    if len(text) > _LONGEST:
        return _unknown(text)
    if not (whole := _read_one(text)).obstacle:
        return whole
    parts = [" ".join(part.split()) for part in _SEPARATOR.split(text)]
    found = list(dict.fromkeys(_read_one(part) for part in parts if part and part.lower() not in _HARMLESS))
    if len(found) < 2:
        return found[0] if found else whole
    return Licence(
        " ".join(text.split()),
        # A link to one of several texts would pass for all of them.
        " ".join(licence.url for licence in found) if all(licence.url for licence in found) else "",
        next((licence.obstacle for licence in found if licence.obstacle), ""),
        *(any(getattr(one, name) for one in found) for name in ("needs_credit", "noncommercial", "verbatim")),
    )


def _read_one(text: str) -> Licence:
    wanted = " ".join(text.lower().replace("_", "-").split())
    if match := _CC.fullmatch(wanted) or _CC_URL.fullmatch(wanted):
        return _creative_commons(match["terms"], match["version"] or "4.0", match["port"] or "")
    if _CC0.fullmatch(wanted):
        return Licence("CC0 1.0", CC0)
    if _PUBLIC_DOMAIN.fullmatch(wanted):
        return Licence("public domain", PUBLIC_DOMAIN)
    if _FREE_SOFTWARE.fullmatch(wanted):
        return Licence(" ".join(text.split()), needs_credit=True)
    if _RESERVED.fullmatch(wanted):
        return Licence("all rights reserved", obstacle="all rights are reserved")
    return _unknown(text)


def _unknown(text: str) -> Licence:
    name = " ".join(text.split())
    return Licence(name, obstacle=f"the licence {name!r} is not known to allow redistribution")


def _creative_commons(terms: str, version: str, port: str) -> Licence:
    words = [_SHORT.get(word, word) for word in re.split(r"[ -]", terms)]
    code = "-".join(word for word in ("by", "nc", "nd", "sa") if word in words).replace("nd-sa", "nd")
    # Until version 4.0, the licence of a jurisdiction is a text of its own.
    port = "" if version == "4.0" else port
    return Licence(
        " ".join(
            filter(None, ("CC", code.upper(), version, port.capitalize() if len(port) > 3 else port.upper()))
        ),
        "/".join(filter(None, (f"https://creativecommons.org/licenses/{code}/{version}", port))) + "/",
        needs_credit=True,
        noncommercial="nc" in words,
        verbatim="nd" in words,
    )


def how_pool_was_made(benchmark: Benchmark) -> str:
    """Return what a pool knows of its photos, in Markdown; empty for photos of no pool.

    Raises:
        CounterGroundError: the pool is damaged.
    """
    from counterground.construction.pool import is_pool, open_pool
    from counterground.construction.pool_page import summarise_pool

    if not is_pool(benchmark.root):
        return ""
    with open_pool(benchmark.root) as pool:
        summary = summarise_pool(pool)
    tables = [
        f"\n{table.title}. {table.caption}\n\n"
        + markdown_table(table.columns, [[*map(markdown, row)] for row in table.rows], table.heads)
        for table in summary.tables()
    ]
    return f"{summary.sentence()}\n{''.join(tables)}"


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
        reserved: names that mean something else in the format: columns called so could not be read back.
        describe: write files that describe the others, and return the text before the card, such as YAML for
            a hub.
    """

    name: str
    summary: str
    reader: str
    write: Callable[[Contents, Path, Tick], None]
    lay_out: Callable[[Benchmark], Contents] = keep_paths
    reserved: tuple[str, ...] = ()
    describe: Callable[[Benchmark, Statement, Path], str] | None = None


@dataclass(frozen=True)
class Statement:
    """What the card of one export says besides the photos; ``chosen`` is how they were, in Markdown."""

    format: ExportFormat
    settings: ExportSettings
    chosen: str
    remarks: tuple[str, ...]

    def title(self, benchmark: Benchmark) -> str:
        """Return what the collection is called."""
        return self.settings.title or benchmark.name


_FORMULA = ("=", "+", "-", "@")


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[object]], heads: int = 1) -> str:
    """Return a Markdown table; the columns from ``heads`` on are figures, on the right."""
    body = [[f"{value:,}" if isinstance(value, int) else str(value) for value in row] for row in rows]
    rule = ["---" if column < heads else "---:" for column in range(len(head))]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, rule, *body))


def csv_text(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return CSV whose cells no spreadsheet takes for a formula: those that begin like one get a ``'``."""
    out = io.StringIO()
    texts = [["" if value is None else one_line(str(value)) for value in row] for row in rows]
    cells = [[f"'{text}" if text.startswith(_FORMULA) else text for text in row] for row in texts]
    csv.writer(out, lineterminator="\n").writerows([head, *cells])
    return out.getvalue()


_METHOD = (
    "Wang et al., A Sober Look at the Robustness of CLIPs to Spurious Features, NeurIPS 2024"
    " (arXiv 2403.11497)"
)


def write_card(benchmark: Benchmark, statement: Statement, folder: Path, front_matter: str) -> None:
    """Write ``README.md``: what the collection is, what is in it, what one may do with it, how to read it."""
    form, facts = statement.format, statement.settings
    private = (
        "" if not facts.private else "**Not for redistribution.** This export was made for private use.\n\n"
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
    write_text(folder / "README.md", text)


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
    return f"## Counts\n\n{total}.\n\n{markdown_table((*columns, 'photos'), rows, len(columns))}"


def _licences(benchmark: Benchmark, own: str) -> str:
    counts = Counter(read_licence(text) for text in benchmark.photos["licence"])
    rows = []
    for licence, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0].name)):
        limits = {"non-commercial": licence.noncommercial, "unchanged": licence.verbatim}
        allowed = ", ".join(limit for limit, applies in limits.items() if applies) or "yes"
        no = f"**no**: {markdown(licence.obstacle)}"
        urls = " ".join(f"<{url}>" for url in licence.url.split())
        rows.append((markdown(licence.name), no if licence.obstacle else allowed, urls, count))
    return (
        f"## Licences\n\nThe collection (selection and labels): {markdown(own) or 'no licence is stated'}. "
        "Each photo keeps its author's licence; `ATTRIBUTION.csv` has author, licence and source of each. "
        "Licences stated without a version are shown as 4.0.\n\n"
        + markdown_table(("licence", "redistribution", "text", "photos"), rows, 3)
    )


def citation(benchmark: Benchmark, statement: Statement) -> str:
    """Return how to cite the collection, in one line of plain text."""
    facts = statement.settings
    by = f"{', '.join(facts.creators)}. " if facts.creators else ""
    return facts.citation or f"{by}{statement.title(benchmark)}, version {facts.version}. {facts.url}".strip()


def write_credits(benchmark: Benchmark, left_out: pl.DataFrame, folder: Path) -> None:
    """Write ``ATTRIBUTION.csv``, a line per photo, and ``left_out.csv`` if photos were left out."""
    head = ("path", "class", "attribution", "licence", "licence_url", "source")
    columns = ("path", "class_name", "attribution", "licence", "source")
    rows: Iterable[Sequence[object]] = (
        (path, name, credit, read_licence(licence).name, read_licence(licence).url, source)
        for path, name, credit, licence, source in benchmark.photos.select(columns).iter_rows()
    )
    write_text(folder / "ATTRIBUTION.csv", csv_text(head, rows))
    if not left_out.is_empty():
        write_text(folder / "left_out.csv", csv_text(left_out.columns, left_out.iter_rows()))
