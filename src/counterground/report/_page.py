"""A page of HTML that needs nothing but itself, drawn by Jinja with autoescape."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from counterground.escaping import legible
from counterground.report._families import FAMILY_COLOURS, FAMILY_COLOURS_DARK, GROUNDS
from counterground.report._numbers import bounds, count, counted, p_value, percent
from counterground.report._script import page_policy

if TYPE_CHECKING:
    from markupsafe import Markup


def render_page(template: str, **values: object) -> str:
    """Return the page of a template; a name that is not given is an error.

    Every value is escaped, and loses what cannot be seen: control characters and marks that reorder text.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("counterground.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=percent,
        count=count,
        counted=counted,
        p_value=p_value,
        breakable=_breakable,
        unbroken=_unbroken,
    )
    colours = {"light": FAMILY_COLOURS, "dark": FAMILY_COLOURS_DARK}
    environment.globals.update(bounds=bounds, colours=colours, grounds=GROUNDS)
    return environment.get_template(template).render({"policy": page_policy(), **values})


def _breakable(label: str) -> Markup:
    """Escape a model's label and let lines break after the signs that part it."""
    from markupsafe import Markup, escape

    pieces = re.split(r"(?<=[/:@])(?=.)", legible(label))
    return Markup("<bdi>{}</bdi>").format(Markup("<wbr>").join(escape(piece) for piece in pieces))


def _finalize(value: object) -> object:
    return value if hasattr(value, "__html__") else legible(value)


def _unbroken(sentence: str) -> str:
    """Keep an interval in a sentence on one line."""
    return re.sub(r"\[(\S+), (\S+)\]", "[\\1,\u00a0\\2]", sentence)
