"""A sheet of scores as Markdown, and as LaTeX that compiles and fits a page."""

from __future__ import annotations

from collections.abc import Sequence

from counterground.escaping import latex, markdown
from counterground.report._sheet import Cell, Sheet

LATEX_FIGURES = 5  # with their intervals these fit a column of text 14 cm wide


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
    r"""Return a ``table`` of booktabs: for each model a line of figures and a line of intervals."""
    lines = [
        r"% In the preamble: \usepackage{booktabs}",
        r"\begin{table}[t]",
        r"  \centering\small\setlength{\tabcolsep}{4pt}",
        rf"  \caption{{{_caption(sheet)}}}",
        r"  \label{tab:counterground}",
        rf"  \begin{{tabular}}{{@{{}}{_alignment(sheet)}@{{}}}}",
        r"    \toprule",
        f"    {_titles(sheet)}",
        r"    \midrule",
    ]
    for number, row in enumerate(sheet.rows):
        lines += [r"    \addlinespace"] * (number > 0)
        lines.append(f"    {_line([latex(value) for value, _ in row])}")
        if any(interval for _, interval in row):
            lines.append(f"    {_line([_small(interval) for _, interval in row])}")
    return "\n".join([*lines, r"    \bottomrule", r"  \end{tabular}", r"\end{table}"])


def sheet_latex_by_class(sheet: Sheet) -> str:
    r"""Return a ``longtable``, which may run over pages: a heading for each model, a line for each class."""
    columns = Sheet(0, sheet.columns[sheet.heads :], [], "")
    width = len(columns.columns)
    lines = [
        r"% In the preamble: \usepackage{booktabs,longtable}",
        r"\begingroup\small\setlength{\tabcolsep}{4pt}",
        rf"\begin{{longtable}}{{@{{}}{_alignment(columns)}@{{}}}}",
        rf"  \caption{{{_caption(sheet)}}}\label{{tab:counterground-classes}} \\",
        *(rf"  \toprule {_titles(columns)} \midrule \{end}" for end in ("endfirsthead", "endhead")),
        r"  \bottomrule \endlastfoot",
    ]
    above: list[Cell] | None = None
    for row in sheet.rows:
        head, cells = row[: sheet.heads], row[sheet.heads :]
        if head != above:
            name = latex(", ".join(value for value, _ in head))
            lines += [r"  \addlinespace"] * (above is not None)
            lines.append(rf"  \multicolumn{{{width}}}{{@{{}}l@{{}}}}{{\textbf{{{name}}}}} \\*")
            above = head
        texts = [f"{latex(value)} {_small(interval)}".strip() for value, interval in cells]
        lines.append(f"  {_line(texts)}")
    return "\n".join([*lines, r"\end{longtable}", r"\endgroup"])


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
