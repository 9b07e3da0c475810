"""A table of figures with intervals, and how documents write it: Markdown of GitHub, LaTeX that compiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from counterground.text import latex, markdown

_FIGURES = 6  # with their intervals these fit a text column 14 cm wide
_PAGE = 45  # lines
_SMALL = r"\footnotesize\setlength{\tabcolsep}{4pt}"
_NO_WIDER = r"\ifdim\width>\linewidth\linewidth\else\width\fi"


class Column(NamedTuple):
    """A column.

    ``meaning`` is a sentence that explains it; ``minor`` says that it may be left out for lack of room.
    """

    title: str
    numeric: bool = False
    meaning: str = ""
    minor: bool = False


class Cell(NamedTuple):
    """A value as text, with its interval or whatever else belongs below it."""

    value: str = ""
    interval: str = ""


@dataclass(frozen=True)
class Table:
    """Columns and rows of cells.

    Attributes:
        columns: the columns.
        rows: a cell for each column.
        caption: units, settings, and what a reader of the table alone must know.
        title: what the table is called among others; else empty.
        heads: the first columns, which name a model in its setting.
        grouped: rows with the same heads belong together, and the heads are written once.
        headings: rows whose first cell is the title of those below.
        bold: rows that stand out.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""
    title: str = ""
    heads: int = 1
    grouped: bool = False
    headings: frozenset[int] = frozenset()
    bold: frozenset[int] = frozenset()

    def without_minor(self) -> Table | None:
        """Return the table without the last column that may be left out; None if there is none."""
        minor = [place for place, column in enumerate(self.columns) if column.minor]
        if not minor:
            return None
        kept = [place for place in range(len(self.columns)) if place != minor[-1]]
        rows = [[row[place] for place in kept] for row in self.rows]
        return replace(self, columns=[self.columns[place] for place in kept], rows=rows)

    def rows_from(self, start: int, stop: int | None = None) -> Table:
        """Return some of the rows."""
        headings, bold = (frozenset(place - start for place in of) for of in (self.headings, self.bold))
        return replace(self, rows=self.rows[start:stop], headings=headings, bold=bold)

    def with_headings(self) -> Table:
        """Return the table with a heading above each group in place of the columns of heads."""
        if not self.grouped:
            return self
        columns, rows, headings = self.columns[self.heads :], list[Sequence[Cell]](), set()
        above: Sequence[Cell] | None = None
        for row in self.rows:
            if row[: self.heads] != above:
                above = row[: self.heads]
                headings.add(len(rows))
                rows.append(heading(", ".join(cell.value for cell in above), len(columns)))
            rows.append(row[self.heads :])
        return replace(self, columns=columns, rows=rows, grouped=False, headings=frozenset(headings))


def heading(text: str, width: int) -> list[Cell]:
    """Return a row that is the title of those below."""
    return [Cell(text), *[Cell()] * (width - 1)]


def markdown_table(table: Table) -> str:
    """Return a table of GitHub's Markdown, and the caption below it."""
    lines = [
        [markdown(column.title) for column in table.columns],
        ["---:" if column.numeric else ":---" for column in table.columns],
    ]
    for row in table.rows:
        texts = [
            cell.value if column.numeric else markdown(cell.value)
            for column, cell in zip(table.columns, row, strict=True)
        ]
        lines.append([f"{text} {cell.interval}".strip() for text, cell in zip(texts, row, strict=True)])
    return "\n".join([*(f"| {' | '.join(line)} |" for line in lines), "", markdown(table.caption)])


def latex_table(table: Table, label: str = "counterground") -> str:
    r"""Return a ``table`` of booktabs: a line of figures for each model, and one of intervals.

    Tables longer than a page, and grouped ones, whose intervals are beside the figures, become a
    ``longtable``; another one that is wider than the text is set smaller. Minor columns that do not fit are
    left out.
    """
    while sum(column.numeric for column in table.columns) > _FIGURES and (less := table.without_minor()):
        table = less
    grouped, table = table.grouped, table.with_headings()
    body = _body(table, beside=grouped)
    alignment = "".join("r" if column.numeric else "l" for column in table.columns)
    titles = _line([r"$n$" if column.title == "n" else latex(column.title) for column in table.columns])
    caption = latex(table.caption).replace(r" \%", r"\,\%")
    if grouped or len(body) > _PAGE:
        lines = [
            r"% In the preamble: \usepackage{booktabs,longtable}",
            rf"\begingroup{_SMALL}",
            rf"\begin{{longtable}}{{@{{}}{alignment}@{{}}}}",
            rf"  \caption{{{caption}}}\label{{tab:{label}}} \\",
            *(rf"  \toprule {titles} \midrule \{end}" for end in ("endfirsthead", "endhead")),
            r"  \bottomrule \endlastfoot",
            *(f"  {line}" for line in body),
        ]
        return "\n".join([*lines, r"\end{longtable}", r"\endgroup"])
    lines = [
        r"% In the preamble: \usepackage{booktabs,graphicx}",
        r"\begin{table}[t]",
        rf"  \centering{_SMALL}",
        rf"  \caption{{{caption}}}",
        rf"  \label{{tab:{label}}}",
        rf"  \resizebox{{{_NO_WIDER}}}{{!}}{{\begin{{tabular}}{{@{{}}{alignment}@{{}}}}",
        r"    \toprule",
        f"    {titles}",
        r"    \midrule",
        *(f"    {line}" for line in body),
    ]
    return "\n".join([*lines, r"    \bottomrule", r"  \end{tabular}}", r"\end{table}"])


def _body(table: Table, *, beside: bool) -> list[str]:
    lines: list[str] = []
    spread = not beside and any(cell.interval for row in table.rows for cell in row)
    for place, row in enumerate(table.rows):
        lines += [r"\addlinespace"] * (place > 0 and (spread or place in table.headings))
        values, intervals = [latex(cell.value) for cell in row], [_small(cell.interval) for cell in row]
        if place in table.headings:
            lines.append(rf"\multicolumn{{{len(row)}}}{{@{{}}l@{{}}}}{{\textbf{{{values[0]}}}}} \\*")
        elif beside:
            lines.append(_line([" ".join(cell).strip() for cell in zip(values, intervals, strict=True)]))
        else:
            lines += [_line(values), *[_line(intervals)] * any(intervals)]
    return lines


def _line(cells: Sequence[str]) -> str:
    # LaTeX takes a bracket or an asterisk at the start of a row for an argument of the \\ before it.
    guard = "{}" if cells[0].startswith(("[", "*")) else ""
    return guard + " & ".join(cells) + r" \\"


def _small(interval: str) -> str:
    return rf"{{\scriptsize {latex(interval)}}}" if interval else ""
