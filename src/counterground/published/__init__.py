"""Room: published. The numbers printed in the CounterAnimal paper, as typed tables with notes."""

from __future__ import annotations

from counterground.published._tables import (
    SETTINGS,
    TABLES,
    PaperSetting,
    SettingName,
    load_table,
    notes,
    published_models,
)

__all__ = [
    "SETTINGS",
    "TABLES",
    "PaperSetting",
    "SettingName",
    "load_table",
    "notes",
    "published_models",
]
