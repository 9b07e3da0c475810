"""Tables for documents: GitHub's Markdown, and LaTeX that compiles and fits a page."""

from __future__ import annotations

from collections.abc import Sequence

from counterground.results.tables._table import Cell, Table
from counterground.text import latex, markdown

_FIGURES = 6  # with their intervals these fit a text column 14 cm wide
_PAGE = 45  # lines
_SMALL = r"\footnotesize\setlength{\tabcolsep}{4pt}"
_NO_WIDER = r"\ifdim\width>\linewidth\linewidth\else\width\fi"


def markdown_table(table: Table) -> str:
    """Return a table of GitHub's Markdown, and the caption below it."""

    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |"

    lines = [line([markdown(column.title) for column in table.columns])]
    lines.append(line(["---:" if column.numeric else ":---" for column in table.columns]))
    for row in table.rows:
        texts = [markdown(value) for value, _ in row[: table.heads]]
        for column, (value, interval) in zip(table.columns[table.heads :], row[table.heads :], strict=True):
            texts.append(f"{value if column.numeric else markdown(value)} {interval}".strip())
        lines.append(line(texts))
    return "\n".join([*lines, "", markdown(table.caption)])


def latex_table(table: Table, label: str = "counterground") -> str:
    r"""Return a ``table`` of booktabs: a line of figures for each model, and one of intervals.

    A row with nothing but a name is a heading. Tables longer than a page, and grouped ones, become a
    ``longtable``; another one that is wider than the text is set smaller. Minor columns that do not fit are
    left out.
    """
    while (minor := table.minor) and sum(column.numeric for column in table.columns) > _FIGURES:
        table = table.without(minor[-1])
    if table.grouped:
        return _by_group(table, label)
    body = _body(table)
    if len(body) > _PAGE:
        return _long(table, body, label)
    lines = [
        r"% In the preamble: \usepackage{booktabs,graphicx}",
        r"\begin{table}[t]",
        rf"  \centering{_SMALL}",
        rf"  \caption{{{_caption(table)}}}",
        rf"  \label{{tab:{label}}}",
        rf"  \resizebox{{{_NO_WIDER}}}{{!}}{{\begin{{tabular}}{{@{{}}{_alignment(table)}@{{}}}}",
        r"    \toprule",
        f"    {_titles(table)}",
        r"    \midrule",
        *(f"    {line}" for line in body),
    ]
    return "\n".join([*lines, r"    \bottomrule", r"  \end{tabular}}", r"\end{table}"])


def _by_group(table: Table, label: str) -> str:
    r"""Return a ``longtable``, which may run over pages: a heading for each group, a line for each row."""
    inner = Table(table.columns[table.heads :], [row[table.heads :] for row in table.rows], table.caption)
    body: list[str] = []
    above: Sequence[Cell] | None = None
    for row in table.rows:
        head, cells = row[: table.heads], row[table.heads :]
        if head != above:
            body += _heading(", ".join(cell.value for cell in head), len(cells), first=above is None)
            above = head
        body.append(_line([f"{latex(cell.value)} {_small(cell.interval)}".strip() for cell in cells]))
    return _long(inner, body, f"{label}-classes")


def _body(table: Table) -> list[str]:
    lines: list[str] = []
    spread = any(cell.interval for row in table.rows for cell in row)
    for number, row in enumerate(table.rows):
        if len(row) > 1 and not any(cell.value or cell.interval for cell in row[1:]):
            lines += _heading(row[0].value, len(row), first=number == 0)
            continue
        lines += [r"\addlinespace"] * (number > 0 and spread)
        lines.append(_line([latex(cell.value) for cell in row]))
        if any(cell.interval for cell in row):
            lines.append(_line([_small(cell.interval) for cell in row]))
    return lines


def _heading(name: str, width: int, *, first: bool) -> list[str]:
    line = rf"\multicolumn{{{width}}}{{@{{}}l@{{}}}}{{\textbf{{{latex(name)}}}}} \\*"
    return [line] if first else [r"\addlinespace", line]


def _long(table: Table, body: Sequence[str], label: str) -> str:
    lines = [
        r"% In the preamble: \usepackage{booktabs,longtable}",
        rf"\begingroup{_SMALL}",
        rf"\begin{{longtable}}{{@{{}}{_alignment(table)}@{{}}}}",
        rf"  \caption{{{_caption(table)}}}\label{{tab:{label}}} \\",
        *(rf"  \toprule {_titles(table)} \midrule \{end}" for end in ("endfirsthead", "endhead")),
        r"  \bottomrule \endlastfoot",
        *(f"  {line}" for line in body),
    ]
    return "\n".join([*lines, r"\end{longtable}", r"\endgroup"])


def _caption(table: Table) -> str:
    return latex(table.caption).replace(r" \%", r"\,\%")


def _alignment(table: Table) -> str:
    return "".join("r" if column.numeric else "l" for column in table.columns)


def _titles(table: Table) -> str:
    titles = [r"$n$" if column.title == "n" else latex(column.title) for column in table.columns]
    return _line(titles)


def _line(cells: Sequence[str]) -> str:
    # LaTeX takes a bracket or an asterisk at the start of a row for an argument of the \\ before it.
    guard = "{}" if cells[0].startswith(("[", "*")) else ""
    return guard + " & ".join(cells) + r" \\"


def _small(interval: str) -> str:
    return rf"{{\scriptsize {latex(interval)}}}" if interval else ""
