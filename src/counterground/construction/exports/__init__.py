"""Export a benchmark as a folder that others can read, with a data card and all credits."""

from counterground.construction.exports._copying import Tick, copy_photos, photo_bytes
from counterground.construction.exports._export import FORMATS, ExportReport, export
from counterground.construction.exports._facts import Agreement, CardFacts, card_facts, known_facts
from counterground.construction.exports._format import ExportFormat, Statement
from counterground.construction.exports._layout import Contents, counteranimal_paths, keep_paths
from counterground.construction.exports._selection import LEFT_OUT_SCHEMA

__all__ = [
    "FORMATS",
    "LEFT_OUT_SCHEMA",
    "Agreement",
    "CardFacts",
    "Contents",
    "ExportFormat",
    "ExportReport",
    "Statement",
    "Tick",
    "card_facts",
    "copy_photos",
    "counteranimal_paths",
    "export",
    "keep_paths",
    "known_facts",
    "photo_bytes",
]
