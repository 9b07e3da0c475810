"""Heads: which column of the scores belongs to which name."""

from __future__ import annotations

import numpy as np
import pytest

from counterground.errors import UsageError
from counterground.inference import build_head
from counterground.models import load_model
from counterground.photos import LabelSpace


class CountedName(str):
    """A name that counts how often it is compared with another object."""

    __slots__ = ()
    comparisons = 0

    def __eq__(self, other: object) -> bool:
        CountedName.comparisons += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def test_names_are_looked_up_not_searched_for(tiny_clip, tmp_path):
    names = tuple(CountedName(f"animal {number}") for number in range(400))
    space = LabelSpace("many", tuple(str(name) for name in names), (None,) * len(names))
    model = load_model(f"open_clip:{tiny_clip}", device="cpu")
    CountedName.comparisons = 0
    head = build_head(model, space, names, ["{}"], tmp_path)
    assert CountedName.comparisons < len(names), "each name is compared with those before it"
    assert head.columns.tolist() == list(range(len(names)))


def test_names_with_the_same_text_share_a_column(tiny_clip, tmp_path):
    space = LabelSpace("three", ("swan", "bear", "other swan"), (None,) * 3)
    model = load_model(f"open_clip:{tiny_clip}", device="cpu")
    head = build_head(model, space, ("swan", "bear", "swan"), ["A photo of {}."], tmp_path)
    assert head.columns.tolist() == [0, 1, 0]
    scores = head.scores(np.eye(model.dim, dtype=np.float32))
    assert (scores[:, 0] == scores[:, 2]).all()
    assert scores.shape == (model.dim, 3)


def test_all_classes_without_an_output_are_in_one_message(tmp_path):
    model = load_model("efficientnet-lite0", device="cpu")
    space = LabelSpace("own", ("gooze", "tench", "angler fish"), (None, 0, None))
    with pytest.raises(UsageError) as caught:
        build_head(model, space, space.names, ["{}"], tmp_path)
    message = str(caught.value)
    assert "has no output for classes 'gooze' (did you mean 'goose'" in message
    assert "'angler fish'" in message
    assert message.endswith("Rename the classes, or use a CLIP or a model trained on them.")
