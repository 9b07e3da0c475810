"""Words that a model suggests for groups of photos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from counterground.errors import UsageError
from counterground.models import DualEncoder, Generative, load_model
from counterground.photos import AnyPhoto, load_photo
from counterground.settings import DiscoverSettings

if TYPE_CHECKING:
    from PIL import Image

_SUGGESTED = 3
_QUESTION = "Which background is behind the main object of this photo? Answer with one word."
_WORDS = (
    *(
        "sky",
        "clouds",
        "water",
        "sea",
        "beach",
        "sand",
        "grass",
        "field",
        "forest",
        "tree",
        "shrub",
        "leaves",
    ),
    *("flowers", "rock", "mountain", "snow", "ice", "desert", "earth", "night", "street", "road", "building"),
    *(
        "wall",
        "fence",
        "brick",
        "floor",
        "carpet",
        "wood",
        "table",
        "kitchen",
        "room",
        "bed",
        "sofa",
        "window",
    ),
    *("white background", "black background", "hand", "people", "crowd", "vehicle", "garden", "park", "cage"),
)


def suggested_words(
    photos: Mapping[str, Sequence[AnyPhoto]], settings: DiscoverSettings
) -> dict[str, list[str]]:
    """Return words for each group of photos, the best first; none if no model is named.

    A CLIP chooses among common backgrounds, by how much more similar each is to this group than to others; a
    generative model is asked about each photo.

    Raises:
        UsageError: a model without texts.
    """
    if settings.suggest is None or not photos:
        return {}
    model = load_model(settings.suggest, device=settings.device, precision=settings.precision)
    images = {name: [load_photo(file).image for file in files] for name, files in photos.items()}
    if isinstance(model, Generative):
        return {name: _answers(model, of) for name, of in images.items()}
    if not isinstance(model, DualEncoder):
        raise UsageError(f"--suggest {settings.suggest}: name a CLIP or a generative model.")
    import torch

    texts = model.encode_texts([f"a photo with {word} in the background" for word in _WORDS])
    seen = [model.encode(torch.stack([model.preprocess(image) for image in of])) for of in images.values()]
    similar = np.stack([of.numpy().mean(0) for of in seen]) @ texts.T
    best = np.argsort(-(similar - similar.mean(0)), axis=1)[:, :_SUGGESTED]
    return {name: [_WORDS[at] for at in row] for name, row in zip(images, best, strict=True)}


def _answers(model: Generative, images: Sequence[Image.Image]) -> list[str]:
    answers = [model.generate(image, _QUESTION, max_new_tokens=10) for image in images]
    words = Counter(answer.strip(" .\n").lower() for answer in answers if answer.strip())
    return [word for word, _ in words.most_common(_SUGGESTED)]
