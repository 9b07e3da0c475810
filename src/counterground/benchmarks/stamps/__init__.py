"""The embedded benchmark: photographic cut-outs on photographic backgrounds, both from Debian packages."""

from counterground.benchmarks.stamps._photographs import (
    STAMPS_PACKAGE,
    Background,
    Cutout,
    composite,
    load_backgrounds,
    load_cutouts,
    read_map,
    solid,
)
from counterground.benchmarks.stamps._stamps import (
    RESERVED,
    STAMPS,
    StampsSettings,
    build_stamps,
    cutouts_shown,
)

__all__ = [
    "RESERVED",
    "STAMPS",
    "STAMPS_PACKAGE",
    "Background",
    "Cutout",
    "StampsSettings",
    "build_stamps",
    "composite",
    "cutouts_shown",
    "load_backgrounds",
    "load_cutouts",
    "read_map",
    "solid",
]
