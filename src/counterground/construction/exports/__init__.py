"""Export a benchmark as a folder that others can read, with a data card and all credits."""

from counterground.construction.exports._card import ExportFormat
from counterground.construction.exports._export import FORMATS, LEFT_OUT_SCHEMA, ExportReport, export
from counterground.construction.exports._layout import Contents, Tick, copy_photos

__all__ = [
    "FORMATS",
    "LEFT_OUT_SCHEMA",
    "Contents",
    "ExportFormat",
    "ExportReport",
    "Tick",
    "copy_photos",
    "export",
]
