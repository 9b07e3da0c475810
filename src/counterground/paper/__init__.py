"""Wing: the paper. What it claims, its figures and its experiments, repeated. See README.md."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from counterground.paper._minigpt4 import LVLM, MINIGPT4
    from counterground.paper.claims import claim_by_setting, reproduce
    from counterground.paper.figures import write_figures
    from counterground.paper.study import (
        CocoSettings,
        ColoredSettings,
        TheorySettings,
        study_coloredcoco,
        study_multicoloredmnist,
        study_theory,
    )

_PARTS = {
    "LVLM": "_minigpt4",
    "MINIGPT4": "_minigpt4",
    "CocoSettings": "study",
    "ColoredSettings": "study",
    "TheorySettings": "study",
    "claim_by_setting": "claims",
    "reproduce": "claims",
    "study_coloredcoco": "study",
    "study_multicoloredmnist": "study",
    "study_theory": "study",
    "write_figures": "figures",
}

__all__ = [
    "LVLM",
    "MINIGPT4",
    "CocoSettings",
    "ColoredSettings",
    "TheorySettings",
    "claim_by_setting",
    "reproduce",
    "study_coloredcoco",
    "study_multicoloredmnist",
    "study_theory",
    "write_figures",
]


def __getattr__(name: str) -> Any:
    """Import a part when it is first used: the commands' help needs none."""
    if name not in _PARTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PARTS[name]}"), name)
