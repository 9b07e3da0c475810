"""A sheet of scores as Markdown, and as LaTeX that compiles and fits a page."""

from __future__ import annotations

from collections.abc import Sequence

from counterground.results.tables._table import Cell, Sheet
from counterground.text import latex, markdown

LATEX_FIGURES = 5  # with their intervals these fit a column of text 14 cm wide
_TEXT_WIDTH = 384  # points; 14 cm are 398, and widths are estimates
# Print, its size, and the space at each side of a column, in points.
_SIZES = ((r"\small", 9, 4), (r"\footnotesize", 8, 4), (r"\scriptsize", 7, 2))
_SCRIPT = 7
_NARROW, _WIDE = "ijlftr.,:;'|!()[]/ ", "mw−+<>=%"
_PAGE = 45  # lines


def sheet_markdown(sheet: Sheet) -> str:
    """Return a table of GitHub's Markdown, and the caption below it."""

    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |"

    lines = [line([column.title for column in sheet.columns])]
    lines.append(line(["---:" if column.numeric else ":---" for column in sheet.columns]))
    for row in sheet.rows:
        texts = [markdown(value) for value, _ in row[: sheet.heads]]
        for column, (value, interval) in zip(sheet.columns[sheet.heads :], row[sheet.heads :], strict=True):
            texts.append(f"{value if column.numeric else markdown(value)} {interval}".strip())
        lines.append(line(texts))
    return "\n".join([*lines, "", markdown(sheet.caption)])


def sheet_latex(sheet: Sheet) -> str:
    r"""Return a ``table`` of booktabs: a line of figures for each model, and one of intervals.

    A row with nothing but a name is a heading. Tables longer than a page become a ``longtable``; the print is
    as small as a column of text 14 cm wide asks for.
    """
    body = _body(sheet)
    if len(body) > _PAGE:
        return _long(sheet, body, _size(sheet), "tab:counterground")
    lines = [
        r"% In the preamble: \usepackage{booktabs}",
        r"\begin{table}[t]",
        rf"  \centering{_size(sheet)}",
        rf"  \caption{{{_caption(sheet)}}}",
        r"  \label{tab:counterground}",
        rf"  \begin{{tabular}}{{@{{}}{_alignment(sheet)}@{{}}}}",
        r"    \toprule",
        f"    {_titles(sheet)}",
        r"    \midrule",
        *(f"    {line}" for line in body),
    ]
    return "\n".join([*lines, r"    \bottomrule", r"  \end{tabular}", r"\end{table}"])


def sheet_latex_by_class(sheet: Sheet) -> str:
    r"""Return a ``longtable``, which may run over pages: a heading for each model, a line for each class."""
    inner = Sheet(0, sheet.columns[sheet.heads :], [row[sheet.heads :] for row in sheet.rows], sheet.caption)
    body: list[str] = []
    above: list[Cell] | None = None
    for row in sheet.rows:
        head, cells = row[: sheet.heads], row[sheet.heads :]
        if head != above:
            body += _heading(", ".join(value for value, _ in head), len(cells), first=above is None)
            above = head
        body.append(_line([f"{latex(value)} {_small(interval)}".strip() for value, interval in cells]))
    return _long(inner, body, r"\small\setlength{\tabcolsep}{4pt}", "tab:counterground-classes")


def _body(sheet: Sheet) -> list[str]:
    lines: list[str] = []
    spread = any(interval for row in sheet.rows for _, interval in row)
    for number, row in enumerate(sheet.rows):
        if len(row) > 1 and not any(value or interval for value, interval in row[1:]):
            lines += _heading(row[0][0], len(row), first=number == 0)
            continue
        lines += [r"\addlinespace"] * (number > 0 and spread)
        lines.append(_line([latex(value) for value, _ in row]))
        if any(interval for _, interval in row):
            lines.append(_line([_small(interval) for _, interval in row]))
    return lines


def _heading(name: str, width: int, *, first: bool) -> list[str]:
    line = rf"\multicolumn{{{width}}}{{@{{}}l@{{}}}}{{\textbf{{{latex(name)}}}}} \\*"
    return [line] if first else [r"\addlinespace", line]


def _long(sheet: Sheet, body: Sequence[str], size: str, label: str) -> str:
    lines = [
        r"% In the preamble: \usepackage{booktabs,longtable}",
        rf"\begingroup{size}",
        rf"\begin{{longtable}}{{@{{}}{_alignment(sheet)}@{{}}}}",
        rf"  \caption{{{_caption(sheet)}}}\label{{{label}}} \\",
        *(rf"  \toprule {_titles(sheet)} \midrule \{end}" for end in ("endfirsthead", "endhead")),
        r"  \bottomrule \endlastfoot",
        *(f"  {line}" for line in body),
    ]
    return "\n".join([*lines, r"\end{longtable}", r"\endgroup"])


def _size(sheet: Sheet) -> str:
    """The largest print in which the table is about as wide as a column of text."""
    columns: list[tuple[float, float]] = []  # width of figures and of intervals, in ems
    for place, column in enumerate(sheet.columns):
        rows = [row[place] for row in sheet.rows if any(value for value, _ in row[1:])]
        texts = (column.title, *(value for value, _ in rows))
        columns.append((max(map(_ems, texts)), max((_ems(interval) for _, interval in rows), default=0.0)))

    def width(size: int, gap: int) -> float:
        return sum(max(size * text, _SCRIPT * small) for text, small in columns) + 2 * gap * (
            len(columns) - 1
        )

    fitting = [(name, gap) for name, size, gap in _SIZES if width(size, gap) <= _TEXT_WIDTH]
    name, gap = fitting[0] if fitting else (_SIZES[-1][0], _SIZES[-1][2])
    return rf"{name}\setlength{{\tabcolsep}}{{{gap}pt}}"


def _ems(text: str) -> float:
    """About how wide Computer Modern sets a text, in ems."""
    return sum(0.31 if sign in _NARROW else 0.77 if sign.isupper() or sign in _WIDE else 0.5 for sign in text)


def _caption(sheet: Sheet) -> str:
    return latex(sheet.caption).replace(r" \%", r"\,\%")


def _alignment(sheet: Sheet) -> str:
    return "".join("r" if column.numeric else "l" for column in sheet.columns)


def _titles(sheet: Sheet) -> str:
    titles = [r"$n$" if column.title == "n" else latex(column.title) for column in sheet.columns]
    return _line(titles)


def _line(cells: Sequence[str]) -> str:
    # LaTeX takes a bracket or an asterisk at the head of a row for an argument of the \\ before it.
    guard = "{}" if cells[0].startswith(("[", "*")) else ""
    return guard + " & ".join(cells) + r" \\"


def _small(interval: str) -> str:
    return rf"{{\scriptsize {latex(interval)}}}" if interval else ""
