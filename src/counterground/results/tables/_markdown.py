"""Tables as GitHub's Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from counterground.results.tables._table import Table
from counterground.text import markdown


def markdown_table(table: Table) -> str:
    """Return a table of GitHub's Markdown, and the caption below it."""

    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |"

    table = table.as_text()
    lines = [line([markdown(column.title) for column in table.columns])]
    lines.append(line(["---:" if column.numeric else ":---" for column in table.columns]))
    for row in table.rows:
        texts = [markdown(value) for value, *_ in row[: table.heads]]
        for column, (value, interval, _) in zip(
            table.columns[table.heads :], row[table.heads :], strict=True
        ):
            texts.append(f"{value if column.numeric else markdown(value)} {interval}".strip())
        lines.append(line(texts))
    return "\n".join([*lines, "", markdown(table.caption)])
