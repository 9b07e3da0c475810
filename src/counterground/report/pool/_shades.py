"""Ten shades of one hue, few to many, with the text colour that can be read on each."""

from __future__ import annotations

from typing import NamedTuple


class Shade(NamedTuple):
    """Fill and text colour on a light page, and on a dark one."""

    fill: str
    ink: str
    dark_fill: str
    dark_ink: str


# Steps of equal lightness in Oklab: what only gets darker is read alike, whatever colours one sees.
# Texts are black or white, whichever has more contrast: 4.5 or more everywhere (WCAG AA).
SHADES = (
    Shade("#e5f2fe", "#000000", "#1d2f45", "#ffffff"),
    Shade("#c7e1fa", "#000000", "#253f5e", "#ffffff"),
    Shade("#aad0f5", "#000000", "#2b5079", "#ffffff"),
    Shade("#8bbef0", "#000000", "#326294", "#ffffff"),
    Shade("#6cadeb", "#000000", "#3974b1", "#ffffff"),
    Shade("#5397d9", "#000000", "#4d8ac7", "#000000"),
    Shade("#417dbd", "#000000", "#6ca4d7", "#000000"),
    Shade("#3064a2", "#ffffff", "#8cbee6", "#000000"),
    Shade("#204d88", "#ffffff", "#acd8f6", "#000000"),
    Shade("#11356e", "#ffffff", "#cdf2ff", "#000000"),
)
