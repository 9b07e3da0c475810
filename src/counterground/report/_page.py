"""A page of HTML that needs nothing but itself, drawn by Jinja with autoescape."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from counterground.report._families import FAMILY_COLOURS, FAMILY_COLOURS_DARK, GROUNDS
from counterground.report._numbers import bounds, count, p_value, percent
from counterground.report._script import page_policy

if TYPE_CHECKING:
    from markupsafe import Markup


def render_page(template: str, **values: object) -> str:
    """Return the page of a template; every value is escaped, and a name that is not given is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("counterground.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=percent, count=count, p_value=p_value, breakable=_breakable, unbroken=_unbroken
    )
    colours = {"light": FAMILY_COLOURS, "dark": FAMILY_COLOURS_DARK}
    environment.globals.update(bounds=bounds, colours=colours, grounds=GROUNDS)
    return environment.get_template(template).render({"policy": page_policy(), **values})


def _breakable(label: str) -> Markup:
    """Escape a model's label and let lines break after the signs that part it."""
    from markupsafe import Markup, escape

    pieces = re.split(r"(?<=[/:@])(?=.)", label)
    return Markup("<wbr>").join(escape(piece) for piece in pieces)


def _unbroken(sentence: str) -> str:
    """Keep an interval in a sentence on one line."""
    return re.sub(r"\[(\S+), (\S+)\]", "[\\1,\u00a0\\2]", sentence)
