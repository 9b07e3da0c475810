"""One figure in the formats of print; the same figure gives the same bytes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from counterground.errors import UsageError
from counterground.files import write_bytes
from counterground.report.figures._material import Drawing

Format = Literal["pdf", "svg", "png"]
FORMATS: tuple[Format, ...] = get_args(Format)

_DPI = 300
_METADATA: dict[Format, dict[str, Any]] = {
    "pdf": {"Creator": "CounterGround", "Producer": None, "CreationDate": None},
    "svg": {"Creator": "CounterGround", "Date": None},
    "png": {"Software": "CounterGround"},
}


def check_formats(formats: Sequence[str]) -> list[Format]:
    """Return the formats, each once.

    Raises:
        UsageError: one is unknown.
    """
    for wanted in formats:
        if wanted not in FORMATS:
            raise UsageError(f"There is no format {wanted!r} for figures; choose from {', '.join(FORMATS)}.")
    return [kind for kind in FORMATS if kind in formats]


def save(drawing: Drawing, folder: Path, formats: Sequence[Format]) -> list[Path]:
    """Write ``<stem>.<format>`` into ``folder``; call it inside ``print_style``."""
    return [write_one(drawing, folder / f"{drawing.stem}.{kind}", kind) for kind in formats]


def write_one(drawing: Drawing, path: Path, kind: Format) -> Path:
    """Write one file, without dates and with ids that depend on the drawing alone."""
    from matplotlib import rc_context

    buffer = io.BytesIO()
    with rc_context({"svg.hashsalt": drawing.stem, "svg.id": drawing.stem}):
        drawing.figure.savefig(buffer, format=kind, dpi=_DPI, metadata=_METADATA[kind])
    write_bytes(path, buffer.getvalue())
    return path
