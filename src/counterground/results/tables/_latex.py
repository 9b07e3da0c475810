"""Tables as LaTeX that compiles and fits a page."""

from __future__ import annotations

from collections.abc import Sequence

from counterground.results.tables._table import Cell, Table
from counterground.text import latex

_FIGURES = 6  # with their intervals these fit a text column 14 cm wide
_TEXT_WIDTH = 384  # points; 14 cm are 398, and widths are estimates
# Font command, font size, and the space at each side of a column, in points.
_SIZES = ((r"\small", 9, 4), (r"\footnotesize", 8, 4), (r"\scriptsize", 7, 2))
_SCRIPT = 7
_NARROW, _WIDE = "ijlftr.,:;'|!()[]/ ", "mw−+<>=%"
_PAGE = 45  # lines


def latex_table(table: Table, label: str = "counterground") -> str:
    r"""Return a ``table`` of booktabs: a line of figures for each model, and one of intervals.

    A row with nothing but a name is a heading. Tables longer than a page, and grouped ones, become a
    ``longtable``; the font is as small as a text column 14 cm wide requires. Minor columns that do not fit
    are left out.
    """
    table = table.as_text()
    while (minor := table.minor) and sum(column.numeric for column in table.columns) > _FIGURES:
        table = table.without(minor[-1])
    if table.grouped:
        return _by_group(table, label)
    body = _body(table)
    if len(body) > _PAGE:
        return _long(table, body, _size(table), label)
    lines = [
        r"% In the preamble: \usepackage{booktabs}",
        r"\begin{table}[t]",
        rf"  \centering{_size(table)}",
        rf"  \caption{{{_caption(table)}}}",
        rf"  \label{{tab:{label}}}",
        rf"  \begin{{tabular}}{{@{{}}{_alignment(table)}@{{}}}}",
        r"    \toprule",
        f"    {_titles(table)}",
        r"    \midrule",
        *(f"    {line}" for line in body),
    ]
    return "\n".join([*lines, r"    \bottomrule", r"  \end{tabular}", r"\end{table}"])


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
    return _long(inner, body, r"\small\setlength{\tabcolsep}{4pt}", f"{label}-classes")


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


def _long(table: Table, body: Sequence[str], size: str, label: str) -> str:
    lines = [
        r"% In the preamble: \usepackage{booktabs,longtable}",
        rf"\begingroup{size}",
        rf"\begin{{longtable}}{{@{{}}{_alignment(table)}@{{}}}}",
        rf"  \caption{{{_caption(table)}}}\label{{tab:{label}}} \\",
        *(rf"  \toprule {_titles(table)} \midrule \{end}" for end in ("endfirsthead", "endhead")),
        r"  \bottomrule \endlastfoot",
        *(f"  {line}" for line in body),
    ]
    return "\n".join([*lines, r"\end{longtable}", r"\endgroup"])


def _size(table: Table) -> str:
    """Return the largest font in which the table is about as wide as a text column."""
    columns: list[tuple[float, float]] = []  # width of figures and of intervals, in ems
    for place, column in enumerate(table.columns):
        rows = [row[place] for row in table.rows if any(cell.value for cell in row[1:])]
        texts = (column.title, *(cell.value for cell in rows))
        columns.append((max(map(_ems, texts)), max((_ems(cell.interval) for cell in rows), default=0.0)))

    def width(size: int, gap: int) -> float:
        return sum(max(size * text, _SCRIPT * small) for text, small in columns) + 2 * gap * (
            len(columns) - 1
        )

    fitting = [(name, gap) for name, size, gap in _SIZES if width(size, gap) <= _TEXT_WIDTH]
    name, gap = fitting[0] if fitting else (_SIZES[-1][0], _SIZES[-1][2])
    return rf"{name}\setlength{{\tabcolsep}}{{{gap}pt}}"


def _ems(text: str) -> float:
    """Return about how wide Computer Modern sets a text, in ems."""
    return sum(0.31 if sign in _NARROW else 0.77 if sign.isupper() or sign in _WIDE else 0.5 for sign in text)


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
