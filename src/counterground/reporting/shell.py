"""The frame of every page: one self-contained HTML file, rendered by Jinja with autoescape."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from counterground.errors import UsageError
from counterground.findings import breakable
from counterground.text import bounds, count, counted, legible, p_equals, percent

FAMILY_NAMES = {
    "clip": "CLIP",
    "imagenet": "ImageNet models",
    "lvlm": "Vision-language models",
    "other": "Other models",
}
# Okabe and Ito: distinguishable with any of the common kinds of colour blindness.
FAMILY_COLOURS = {"clip": "#0072B2", "imagenet": "#D55E00", "lvlm": "#009E73", "other": "#CC79A7"}
# The same hues, lighter: at least 4.5 to 1 against the page's dark ground.
FAMILY_COLOURS_DARK = {"clip": "#56B4E9", "imagenet": "#FF8F52", "lvlm": "#3FCEA0", "other": "#F29CC6"}
GROUNDS = {"light": "#FFFFFF", "dark": "#14171B"}


_PACKAGE = "counterground.reporting"
_NO_SCRIPT = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
# Inside a script element the parser looks only for these; JSON may write them as escapes.
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def page_path(out: Path, name: str) -> Path:
    """Return the file to write: ``out``, or ``name`` in the folder ``out``.

    Raises:
        UsageError: it does not end in .html.
    """
    path = out / name if out.is_dir() else out
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(
            f"{path} is not an HTML file name: give one that ends in .html, or an existing folder."
        )
    return path


def page_policy(scripts: Sequence[str] = ()) -> str:
    """Return the content security policy of a page that runs exactly ``scripts`` and loads nothing.

    Pictures are ``data:`` URLs; nothing may be evaluated, connected to or sent.
    """
    if not scripts:
        return _NO_SCRIPT
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data:; "
        "connect-src 'none'; base-uri 'none'; form-action 'none'"
    )


def page_script(name: str) -> str:
    """Return one of our own scripts from ``templates/``; it holds no data."""
    return files("counterground.reporting").joinpath("templates", name).read_text("utf-8")


def as_script(script: str) -> Markup:
    """Return the text of a script element; only for what `page_script` returns."""
    return Markup(script)  # noqa: S704 - ours


def as_data(value: Any) -> Markup:
    """Return JSON for a ``<script type="application/json">``: no name in it can end the element."""
    text = json.dumps(legible(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for sign, escaped in _ESCAPES.items():
        text = text.replace(sign, escaped)
    return Markup(text)  # noqa: S704 - neither < nor & is left


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def render_page(template: str, package: str = _PACKAGE, **values: object) -> str:
    """Render a template as a page; a missing name is an error.

    Every value is escaped and loses what cannot be seen: control characters and marks that reorder text.
    ``package`` has the template in its folder ``templates``; it can extend ``frame.html.j2``.
    """
    return _environment(package).get_template(template).render({"policy": page_policy(), **values})


@cache
def _environment(package: str = _PACKAGE) -> Environment:
    """Jinja with our filters; it keeps the templates that it has compiled."""
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader(_PACKAGE)]),
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
        p_equals=p_equals,
        breakable=_breakable,
        unbroken=_unbroken,
        sides=lambda sentence, words: words.marked(sentence) if words else sentence,
        parts=_parts,
        name=breakable,
    )
    colours = {"light": FAMILY_COLOURS, "dark": FAMILY_COLOURS_DARK}
    environment.globals.update(bounds=bounds, colours=colours, grounds=GROUNDS)
    return environment


def _breakable(label: str) -> Markup:
    """Escape a model's label and allow line breaks after its separators."""
    pieces = re.split(r"(?<=[/:@])(?=.)", legible(label))
    return Markup("<bdi>{}</bdi>").format(Markup("<wbr>").join(escape(piece) for piece in pieces))


def _finalize(value: object) -> object:
    return value if hasattr(value, "__html__") else legible(value)


def _parts(text: str, most: int = 40) -> list[str]:
    """Break a text after sentences, so that no paragraph has more words than can be read at a glance."""
    parts: list[str] = []
    for sentence in re.split(r"(?<=[.!?]) (?=[^a-z])", text):
        if parts and len(f"{parts[-1]} {sentence}".split()) <= most:
            parts[-1] += f" {sentence}"
        else:
            parts.append(sentence)
    return parts


def _unbroken(sentence: str) -> str:
    """Keep an interval in a sentence on one line."""
    return re.sub(r"\[(\S+), (\S+)\]", "[\\1,\u00a0\\2]", sentence)
