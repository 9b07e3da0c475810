"""What a method does to other shortcuts: the size of the object, and a watermark across the photo."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from counterground.metrics import Contrast
from counterground.models import Encoder

if TYPE_CHECKING:
    import torch
    from PIL import Image

SIZE = Contrast("size_drop", "object_size=large", "object_size=small")
"""Accuracy on objects larger than the median of their class and group, minus that on the others."""
WATERMARK = Contrast("watermark_drop", "watermark=no", "watermark=yes")
"""Accuracy on the photos as they are, minus that on the same photos with a watermark."""

_TEXT, _OPACITY, _VERSION = "SAMPLE", 0.5, 1
_LARGEST = 8000.0  # pixels of the font: PIL takes a larger text for a decompression bomb


def with_object_size(predictions: pl.DataFrame) -> pl.DataFrame | str:
    """Return predictions with ``object_size`` (large or small within the class), or why it is not known."""
    if "object_area" not in predictions.columns:
        return "the photos have no masks and no boxes"
    if not predictions.schema["object_area"].is_numeric():
        return "the column object_area of the photos is not numeric"
    area = pl.col("object_area")
    median = area.median().over("class_name", "group")
    size = pl.when(area > median).then(pl.lit("large")).when(area <= median).then(pl.lit("small"))
    sized = predictions.with_columns(object_size=size)
    sides = sized.drop_nulls("object_size").group_by("class_name").agg(pl.col("object_size").n_unique())
    if not (sides["object_size"] == 2).any():
        return "the objects of each class have one size"
    return sized


def with_watermark(clean: pl.DataFrame, marked: pl.DataFrame, clusters: Sequence[str]) -> pl.DataFrame:
    """Stack predictions of photos and of their marked copies, for `WATERMARK`; ``clusters`` of the design."""
    copies = marked.with_columns(path=pl.format("{} with a watermark", "path"))
    frames = (clean.with_columns(watermark=pl.lit("no")), copies.with_columns(watermark=pl.lit("yes")))
    # A photo without a cluster is its own cluster, shared with its copy.
    own = pl.format("photo {}", "photo_id")
    return pl.concat(frames, how="diagonal").with_columns(
        pl.col(name).cast(pl.String).fill_null(own) for name in clusters
    )


class Watermarked(Encoder):
    """An encoder that sees every photo with a half-transparent text across it."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self.kind = encoder.kind  # type: ignore[misc]
        self.spec, self.dim = encoder.spec, encoder.dim
        self.display_name = f"{encoder.display_name}, watermark"
        self.device, self.dtype = encoder.device, encoder.dtype
        self.description = encoder.description
        self.convert_rgb_first = True
        about = f"{encoder.fingerprint}\nwatermark {_VERSION}: {_TEXT}, opacity {_OPACITY}"
        self.fingerprint = hashlib.sha256(about.encode()).hexdigest()

    @property
    def users_class(self) -> str:
        """Name of the wrapped encoder's class; see `Encoder.users_class`."""
        return self._encoder.users_class

    def preprocess(self, image: Image.Image) -> torch.Tensor:
        """Mark the photo, then do what the encoder does."""
        return self._encoder.preprocess(draw_watermark(image.convert("RGB")))

    def encode(self, batch: torch.Tensor) -> torch.Tensor:
        """Return what the encoder returns."""
        return self._encoder.encode(batch)


def draw_watermark(image: Image.Image) -> Image.Image:
    """Return an RGB photo with a white, half-transparent text from side to side through its middle."""
    from PIL import Image, ImageDraw, ImageFont

    width, height = image.size
    font = ImageFont.load_default(size=max(8.0, min(width / 5, _LARGEST)))
    layer = Image.new("L", image.size, 0)
    pen = ImageDraw.Draw(layer)
    pen.text((width / 2, height / 2), _TEXT, fill=round(255 * _OPACITY), font=font, anchor="mm")
    marked = image.copy()
    marked.paste((255, 255, 255), mask=layer)
    return marked
