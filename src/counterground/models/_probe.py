"""What a model gives for a few made-up images and texts: features are believed only where code agrees."""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from counterground.models._base import DualEncoder, Encoder
from counterground.models._fingerprint import combine
from counterground.models.execution import own_arithmetic

_SIZES = ((320, 240), (240, 320), (256, 256), (500, 375), (375, 500), (224, 224), (640, 256), (33, 47))
_MODES = ("RGB", "L", "RGBA", "P")
_TEXTS = ("a photo of a cat", "Two Dogs, on grass!", "zebra")
# Another number of threads changes the last of seven digits, an edit the first ones.
_DIGITS = 4


def probe_images() -> Iterator[Image.Image]:
    """Yield eight made-up images of several sizes and modes, the same every time."""
    for number, (width, height) in enumerate(_SIZES):
        x, y, colour = np.ogrid[:width, :height, :3]
        waves = np.sin(x / (9 + number) + colour) * np.cos(y / (5 + number)) * 90
        pixels = waves + (x * (number + 2) + y * (colour + 3)) ** 2 % 75 + 90
        image = Image.fromarray(pixels.transpose(1, 0, 2).astype(np.uint8))
        yield image.convert(_MODES[number % len(_MODES)])


def probed(model: Encoder) -> str:
    """Return a model's fingerprint with a digest of what its code gives for the probe, each image alone.

    It is unique if the probe does not suit the model, which is tried on a photo before anything else.
    """
    try:
        with own_arithmetic(model.device):
            photos = [model.encode(model.preprocess(photo)[None])[0].numpy() for photo in probe_images()]
            texts = (
                [model.encode_texts([text])[0] for text in _TEXTS] if isinstance(model, DualEncoder) else []
            )
        return combine(loaded=model.fingerprint, photos=leading_digits(photos), texts=leading_digits(texts))
    except (Exception, SystemExit):  # whatever the user's code raises
        return uuid.uuid4().hex


def leading_digits(vectors: Sequence[np.ndarray]) -> list[float]:
    """Return the part of each vector in a fixed direction, to some digits of the largest part."""
    parts = [float(vector.astype(np.float64) @ np.cos(np.arange(len(vector)))) for vector in vectors]
    largest = max(map(abs, parts), default=0.0) or 1.0
    digits = _DIGITS - 1 - math.floor(math.log10(largest))
    return [round(part, digits) for part in parts]
