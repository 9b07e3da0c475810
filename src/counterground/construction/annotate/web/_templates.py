"""Pages drawn on the server; names are escaped by the templates."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import jinja2

from counterground._version import __version__
from counterground.results import decimal, percent
from counterground.text import duration


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("counterground.construction.annotate"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "decimal": decimal,
        "duration": duration,
        "number": "{:,}".format,
        "percent": percent,
    }
    environment.globals |= {"version": __version__}
    return environment


def render(template: str, context: Mapping[str, Any]) -> str:
    """Return the page of a template."""
    return _environment().get_template(template).render(context)


def message_page(title: str, text: str, *, refresh: str = "") -> str:
    """Return a page with one message, which continues to ``refresh`` if that is given."""
    return render("message.html.j2", {"title": title, "text": text, "refresh": refresh})
