"""A local web page for reviewing photos and labelling their backgrounds. See README.md."""

from counterground.construction.annotate._serve import LabelSettings, Stopped, label_pool

__all__ = ["LabelSettings", "Stopped", "label_pool"]
