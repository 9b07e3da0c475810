"""The built-in methods, in the order in which they are listed. See README.md."""

from counterground.mitigation._method import Mitigation
from counterground.mitigation.methods._image_projection import IMAGE_PROJECTION, ROBOSHOT, TEXT_SUBTRACTION
from counterground.mitigation.methods._masks import BACKGROUND_SUBTRACTION, FOREGROUND
from counterground.mitigation.methods._prototypes import BALANCED_PROTOTYPES, PROTOTYPES
from counterground.mitigation.methods._reweighting import AFR, DFR, GROUP_DRO
from counterground.mitigation.methods._templates import SAGE, SAGE_SET, TEMPLATE_ENSEMBLE
from counterground.mitigation.methods._text_projection import (
    BACKGROUND_PROMPTS,
    TEXT_CALIBRATION,
    TEXT_PROJECTION,
)

METHODS: tuple[Mitigation, ...] = (
    TEMPLATE_ENSEMBLE,
    SAGE,
    SAGE_SET,
    BACKGROUND_PROMPTS,
    TEXT_PROJECTION,
    TEXT_CALIBRATION,
    ROBOSHOT,
    TEXT_SUBTRACTION,
    IMAGE_PROJECTION,
    PROTOTYPES,
    BALANCED_PROTOTYPES,
    AFR,
    DFR,
    GROUP_DRO,
    BACKGROUND_SUBTRACTION,
    FOREGROUND,
)

__all__ = ["METHODS"]
