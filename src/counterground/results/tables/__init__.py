"""A table of figures with intervals, and its four writers."""

from counterground.results.tables._documents import latex_table, markdown_table
from counterground.results.tables._html import (
    block,
    folded,
    html_paragraphs,
    html_table,
    small,
    unfolding,
)
from counterground.results.tables._rich import plain_text, rich_table
from counterground.results.tables._table import Cell, Column, Table, heading
from counterground.results.tables._view import TableView, TextFormat

__all__ = [
    "Cell",
    "Column",
    "Table",
    "TableView",
    "TextFormat",
    "block",
    "folded",
    "heading",
    "html_paragraphs",
    "html_table",
    "latex_table",
    "markdown_table",
    "plain_text",
    "rich_table",
    "small",
    "unfolding",
]
