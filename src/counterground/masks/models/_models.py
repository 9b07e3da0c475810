"""Which model a source names."""

from __future__ import annotations

from collections.abc import Sequence

from counterground.masks._found import MaskSource
from counterground.masks._settings import MaskSettings
from counterground.masks.models._huggingface import hf_source
from counterground.masks.models._rembg import rembg_source
from counterground.photos import Benchmark


def model_source(
    source: str, benchmark: Benchmark, settings: MaskSettings, accepted: Sequence[str], *, any_box: bool
) -> MaskSource:
    """Return the source of masks of ``rembg:NAME`` or ``hf:NAME``.

    Args:
        source: the model.
        benchmark: the photos.
        settings: see `MaskSettings`.
        accepted: licences of weights that the user accepts.
        any_box: whether the box of any object is known.

    Raises:
        UsageError: an unknown model, or a licence that is not accepted.
        CounterGroundError: the weights cannot be obtained.
        MissingExtraError: a package is not installed.
    """
    if source.startswith("rembg:"):
        return rembg_source(source, accepted)
    classes = benchmark.photos["class_name"].unique().sort().to_list()
    return hf_source(source, classes, settings, accepted, any_box=any_box)
