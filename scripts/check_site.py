"""Check the pages of the built site: they load nothing from elsewhere, and every link leads somewhere.

python scripts/check_site.py FOLDER
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_LOADS = {
    ("script", "src"),
    ("img", "src"),
    ("link", "href"),
    ("iframe", "src"),
    ("source", "src"),
    ("object", "data"),
}
_HARMLESS_LINKS = {"canonical", "next", "prev", "alternate"}
_FETCHED = re.compile(r"(?:url\(|@import)\s*['\"]?((?:https?:)?//[^'\")\s]+)")


class Page(HTMLParser):
    """What a page loads, where it links to, and the places that can be linked to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Record one element."""
        found = {name: value or "" for name, value in attributes}
        self.places |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        for name, value in found.items():
            if (tag, name) in _LOADS and not (_HARMLESS_LINKS & set(found.get("rel", "").split())):
                self.loads.append(value)
        self.loads += _FETCHED.findall(found.get("style", ""))


def elsewhere(address: str) -> bool:
    """Tell whether an address is on another machine."""
    return bool(urlsplit(address).netloc)


def main() -> None:
    """Print what is wrong and fail, or report that nothing is."""
    site = Path(sys.argv[1]).resolve()
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    wrong = []
    for path, page in pages.items():
        here = path.relative_to(site)
        wrong += [f"{here} loads {address}" for address in page.loads if elsewhere(address)]
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or here.name == "404.html":
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                wrong.append(f"{here} links to {link}, which is not there")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].places:
                wrong.append(f"{here} links to {link}; the page has no such place")
    for style in site.rglob("*.css"):
        found = _FETCHED.findall(style.read_text(encoding="utf-8"))
        wrong += [f"{style.relative_to(site)} loads {address}" for address in found]
    if not pages or wrong:
        raise SystemExit("\n".join(wrong) or f"There are no pages in {site}.")
    print(f"{len(pages)} pages: nothing is loaded from elsewhere, and every link leads somewhere.")


if __name__ == "__main__":
    main()
