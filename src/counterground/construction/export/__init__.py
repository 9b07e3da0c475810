"""Export: a benchmark as a folder that others can read, with its card and everybody's credit."""

from counterground.construction.export._export import FORMATS, ExportReport, export
from counterground.construction.export._facts import Agreement, CardFacts, card_facts
from counterground.construction.export._shards import ShardSize

__all__ = [
    "FORMATS",
    "Agreement",
    "CardFacts",
    "ExportReport",
    "ShardSize",
    "card_facts",
    "export",
]
