"""How figures look in print: widths, font sizes, inks, and one set of Matplotlib parameters."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Any

from counterground.errors import missing_extra
from counterground.reporting.style import FAMILY_COLOURS, GROUNDS
from counterground.text import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMN, PAGE = 3.3, 6.9
"""Inches: one column and the full width of a two-column page."""
TEXT, SMALL, TINY = 7.0, 6.0, 5.0
"""Points, at print size."""
INK, QUIET, GRID = "#1F2328", "#5B6470", "#E3E7EB"
TITLE = {COLUMN: 42, PAGE: 90}
"""Characters of a title that fit into a panel of this width."""

FALLBACKS = (
    *(f"Noto Sans CJK {language}" for language in ("SC", "TC", "HK", "JP", "KR")),
    *(f"Noto Sans {language}" for language in ("SC", "TC", "HK", "JP", "KR")),
    *("Source Han Sans SC", "Source Han Sans", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei"),
    *("IPAexGothic", "IPAGothic", "NanumGothic", "Droid Sans Fallback"),
    *("Microsoft YaHei", "SimHei", "Yu Gothic", "Meiryo", "Malgun Gothic"),
    *("PingFang SC", "Hiragino Sans", "Apple SD Gothic Neo", "Arial Unicode MS"),
    *("Noto Sans", "Noto Emoji", "Symbola", "Segoe UI Emoji", "Segoe UI Symbol", "Unifont"),
)
"""Fonts for the characters that DejaVu Sans lacks, in this order, if they are installed."""

_PARAMETERS: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": TEXT,
    "axes.labelsize": TEXT,
    "axes.titlesize": TEXT,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 4,
    "axes.labelcolor": INK,
    "axes.edgecolor": QUIET,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.pad": 2,
    "ytick.major.pad": 2,
    "legend.fontsize": SMALL,
    "legend.frameon": False,
    "legend.handletextpad": 0.4,
    "legend.columnspacing": 1.2,
    "legend.borderaxespad": 0.2,
    "lines.linewidth": 1.0,
    "hatch.linewidth": 0.5,
    "text.color": INK,
    "text.parse_math": False,  # a dollar in a name is a dollar
    "figure.dpi": 200,
    "figure.constrained_layout.h_pad": 0.02,
    "figure.constrained_layout.w_pad": 0.02,
    # Text stays text in every format: `pdf_font_type` in PDF, <text> in SVG.
    "svg.fonttype": "none",
}


def print_style() -> AbstractContextManager[None]:
    """Return a context with Matplotlib's defaults and ours, whatever the matplotlibrc, to draw and save in.

    Raises:
        UsageError: Matplotlib is not installed.
    """
    try:
        from matplotlib import style
    except ModuleNotFoundError as error:
        raise missing_extra(error, "paper") from error
    # DejaVu comes with Matplotlib, so only characters that it lacks depend on the machine's fonts.
    family = {"font.family": ["sans-serif", *_installed(FALLBACKS)]}
    context: AbstractContextManager[None] = style.context(["default", _PARAMETERS | family])
    return context


def _installed(families: Iterable[str]) -> list[str]:
    """Return those of the font families that are installed."""
    from matplotlib import font_manager

    manager = font_manager.fontManager
    listed = {font.fname for font in manager.ttflist}
    # On macOS, Matplotlib would otherwise also ask a program that takes seconds.
    folders = [*font_manager.X11FontDirectories, *font_manager.OSXFontDirectories]
    known = folders if sys.platform == "darwin" else None
    for file in font_manager.findSystemFonts(known):  # Matplotlib's own list may be years old
        if file not in listed:
            with suppress(Exception):  # it is damaged, or of a kind that Matplotlib cannot draw
                manager.addfont(file)
    names = {font.name for font in manager.ttflist}
    return [family for family in families if family in names]


def characters_without_font(figure: Figure, families: Sequence[str] = ()) -> str:
    """Return the characters of a figure that no font of these families, or of ``print_style``, has.

    Call it inside ``print_style``.
    """
    from matplotlib import rcParams
    from matplotlib.font_manager import FontProperties, findfont, get_font
    from matplotlib.text import Text

    texts: Any = figure.findobj(Text)
    wanted = {character for text in texts if text.get_visible() for character in text.get_text()} - {"\n"}
    if not any(ord(character) > 127 for character in wanted):
        return ""
    fonts = [
        get_font(findfont(FontProperties(family=[family]))) for family in families or rcParams["font.family"]
    ]
    known = {chr(code) for font in fonts for code in font.get_charmap()}
    return "".join(sorted(wanted - known))


def pdf_font_type(figure: Figure) -> int:
    """Return how a PDF holds the figure's fonts: 42 or, with characters that DejaVu lacks, 3.

    The outlines of many fonts that have those, such as Noto Sans CJK, are not allowed in Type 42, and some
    programs show nothing in their place. Call it inside ``print_style``.
    """
    return 3 if characters_without_font(figure, ["sans-serif"]) else 42


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of ``width`` x ``height`` inches; pyplot does not know about it."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def family_colour(family: str) -> str:
    """Return the colour of a family as ``#RRGGBB``; an unknown family is drawn as ``other``."""
    return FAMILY_COLOURS.get(family, FAMILY_COLOURS["other"])


def tint(colour: str, strength: float) -> str:
    """Mix ``#RRGGBB`` with white: 1 leaves it, 0 gives white."""
    channels = [int(colour[k : k + 2], 16) for k in (1, 3, 5)]
    ground = [int(GROUNDS["light"][k : k + 2], 16) for k in (1, 3, 5)]
    mixed = (round(g + strength * (c - g)) for c, g in zip(channels, ground, strict=True))
    return "#" + "".join(f"{channel:02X}" for channel in mixed)


def group_colours(family: str = "clip") -> dict[str, str]:
    """Return the family's colour for common, its tint for counter: distinguishable without colour too."""
    colour = family_colour(family)
    return {"common": colour, "counter": tint(colour, 0.4)}


def in_percent(fraction: float | None) -> float | None:
    """Return a fraction in percent or points; None stays None."""
    return None if fraction is None else 100 * fraction


def rule(axes: Axes, *, axis: str = "y") -> None:
    """Draw a light grid across one axis, or across ``both``."""
    axes.grid(axis=axis, color=GRID, linewidth=0.5)  # type: ignore[arg-type]


def shorten(text: str, longest: int) -> str:
    """Return one line of at most ``longest`` characters, cut in the middle: names differ at both ends."""
    line = one_line(text)
    if len(line) <= longest:
        return line
    tail = (longest - 1) // 2
    return f"{line[: longest - 1 - tail]}…{line[-tail:]}"


def wrap(text: str, width: int, most: int = 3) -> str:
    """Break a text between words into lines of ``width`` characters; too long a text loses whole words.

    Args:
        text: one line or several, which count as one.
        width: characters per line.
        most: maximum number of lines; what follows becomes ``…``.
    """
    from textwrap import wrap as broken

    return "\n".join(broken(one_line(text), width, max_lines=most, placeholder=" …", break_on_hyphens=False))
