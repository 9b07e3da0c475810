"""Strangers' words in Markdown, LaTeX and BibTeX: shown as they are, and read as nothing else."""

from __future__ import annotations

import re
import unicodedata

_LATEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    '"': "''",
    "−": "$-$",
    "–": r"\textendash{}",
    "→": r"$\rightarrow$",
    "×": r"$\times$",
}
# BibTeX counts braces whether they are escaped or not, so one alone would end or swallow the field.
_BIBTEX = {**_LATEX, "{": r"\textbraceleft{}", "}": r"\textbraceright{}"}


def one_line(text: str) -> str:
    """Fold white space to single spaces and drop control characters and marks that reorder text."""
    visible = (
        " " if char.isspace() else char
        for char in text
        if char.isspace() or unicodedata.category(char) not in {"Cc", "Cf", "Cs"}
    )
    return " ".join("".join(visible).split())


def markdown(text: str) -> str:
    """Return ``text`` so that Markdown and HTML show it as it is: no markup, no cell ends, no links."""
    escaped = re.sub(r"([\\`*_{}\[\]<>#|&~^$@!]|(?<=/)/)", r"\\\1", one_line(text))
    # At the head of a line these begin a list.
    return re.sub(r"^(\d*)([-+.)])", r"\1\\\2", escaped)


def code(text: str) -> str:
    """Return ``text`` as Markdown's inline code, fenced by more backticks than it has in a row."""
    line = one_line(text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    gap = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{gap}{line}{gap}{fence}"


def latex(text: str) -> str:
    """Return ``text`` so that LaTeX prints it as it is; hyphens in a row do not become a dash."""
    return _spelled(text, _LATEX)


def bibtex(text: str) -> str:
    """Return ``text`` for a field of BibTeX in braces, with braces that always match."""
    return _spelled(text, _BIBTEX)


def bibtex_comment(text: str) -> str:
    """Return ``text`` for a line between entries, where BibTeX takes every ``@`` for the head of one."""
    return one_line(text).replace("@", " at ")


def _spelled(text: str, signs: dict[str, str]) -> str:
    written = "".join(signs.get(sign, sign) for sign in one_line(text))
    return re.sub(r"-(?=-)", "-{}", written)
