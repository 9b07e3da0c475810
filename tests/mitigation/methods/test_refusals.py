"""What cannot be fitted is said in one line that names the method, the culprit and the remedy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from toy_world import METHODS, World

from counterground.errors import UsageError

WORLD = World(d=24)
PHOTOS = WORLD.photos(200, 0.6)
DATA = WORLD.data(PHOTOS)
FITTED = ("prototypes", "balanced-prototypes", "afr", "dfr", "group-dro")
BY_LABEL = ("image-projection", "balanced-prototypes", "dfr", "group-dro")


def refusal(method, data):
    setting = {name: values[0] for name, values in method.settings.items()}
    with pytest.raises(UsageError) as caught:
        method.fit(data, **setting)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(method.name)
    assert line.endswith(".")
    return line


def named(names):
    known = {each.name: each for each in METHODS}
    return pytest.mark.parametrize("method", [known[name] for name in names], ids=lambda method: method.name)


def rows(kept):
    return replace(
        DATA,
        features=DATA.features[kept],
        class_index=DATA.class_index[kept],
        background=DATA.background[kept],
    )


@named([*FITTED, "image-projection", "sage", "sage-set"])
def test_one_class(method):
    only = replace(rows(PHOTOS.class_index == 0), head=DATA.head[:, :1], class_names=("ox",))
    assert "'ox' is the only one" in refusal(method, only)


@named(BY_LABEL)
def test_a_class_none_of_whose_photos_has_a_label(method):
    background = np.where(PHOTOS.class_index == 2, None, PHOTOS.background)
    assert "no photo with a labelled background of 'goose'" in refusal(
        method, replace(DATA, background=background)
    )


@named(BY_LABEL)
def test_a_background_in_a_single_photo(method):
    background = PHOTOS.background.copy()
    background[17] = "moon"
    assert "'moon' from a single photo" in refusal(method, replace(DATA, background=background))


@named(["background-prompts", "text-projection", "text-calibration", "roboshot", "text-subtraction"])
def test_backgrounds_without_names(method):
    assert "background" in refusal(method, replace(DATA, background_names=()))
