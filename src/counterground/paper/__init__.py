"""Wing: the paper. What it claims, its figures and its experiments, repeated. See README.md."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from counterground.paper._minigpt4 import LVLM, MINIGPT4
    from counterground.paper.claims import claim_by_setting
    from counterground.paper.figures import write_figures
    from counterground.paper.reproduction import reproduce
    from counterground.paper.settings import CocoSettings, ColoredSettings, TheorySettings
    from counterground.paper.study.coloredcoco import study_coloredcoco
    from counterground.paper.study.mnist import study_multicoloredmnist
    from counterground.paper.study.theory import study_theory

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
_PARTS = {"LVLM": "_minigpt4", "MINIGPT4": "_minigpt4", "write_figures": "figures"}
_PARTS |= {"claim_by_setting": "claims", "reproduce": "reproduction", "study_theory": "study.theory"}
_PARTS |= {"study_coloredcoco": "study.coloredcoco", "study_multicoloredmnist": "study.mnist"}


def __getattr__(name: str) -> Any:
    """Import a part when it is first used: the commands' help needs none."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"counterground.paper.{_PARTS.get(name, 'settings')}"), name)
