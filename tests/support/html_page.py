"""An HTML page as a test reads it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_BREAKS = {"br", "td", "th", "dt", "dd", "p", "li", "tr", "caption", "summary", "h1", "h2"}
_VOID = {"meta", "br", "img", "wbr", "input"}


class Page(HTMLParser):
    """Checks that tags nest, and collects what the page holds.

    Attributes:
        tags: each tag with its attributes.
        titles: the texts of ``title`` elements: the page's own, and those that are shown on hover.
        scripts, data: contents of scripts that run, and of those that only hold data.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.titles: list[str] = []
        self.scripts: list[str] = []
        self.data: list[str] = []
        self._open: list[str] = []
        self._words: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open, f"unclosed: {self._open}"

    @property
    def text(self) -> str:
        """The words of the page, without titles."""
        return re.sub(r"\s+", " ", "".join(self._words))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))
        self._words.append(" " if tag in _BREAKS else "")
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag) -> None:
        self._words.append(" " if tag in _BREAKS else "")
        assert self._open.pop() == tag, f"</{tag}> does not close the innermost element"

    def handle_data(self, data) -> None:
        inside = self._open[-1] if self._open else None
        if inside == "script":
            kind = self.tags[-1][1].get("type")
            (self.scripts if kind is None else self.data).append(data)
        elif inside == "title":
            self.titles.append(data)
        elif inside != "style":
            self._words.append(data)
