"""Names and colours of families, on the page and in figures."""

from __future__ import annotations

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
