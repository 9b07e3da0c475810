"""Room: benchmarks."""

from counterground.benchmarks._compositing import composite
from counterground.benchmarks._photographs import Background, Cutout, load_backgrounds, load_cutouts

__all__ = ["Background", "Cutout", "composite", "load_backgrounds", "load_cutouts"]
