"""Room: published. The numbers printed in the CounterAnimal paper, as typed tables with notes."""

from __future__ import annotations

from counterground.published._models import SETTINGS, PaperSetting, SettingName, published_models
from counterground.published._notes import notes
from counterground.published._tables import TABLES, load_table

__all__ = [
    "SETTINGS",
    "TABLES",
    "PaperSetting",
    "SettingName",
    "load_table",
    "notes",
    "published_models",
]
