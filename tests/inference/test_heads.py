"""Heads: which column of the scores belongs to which name."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from counterground.errors import UsageError
from counterground.inference import build_head
from counterground.models import load_model
from counterground.photos import LabelSpace, imagenet_names
from counterground.predictions import candidate_labels


def test_names_with_the_same_text_share_a_column(tiny_clip, tmp_path):
    space = LabelSpace("three", ("swan", "bear", "other swan"), (None,) * 3)
    model = load_model(f"open_clip:{tiny_clip}", device="cpu")
    head = build_head(model, space, ("swan", "bear", "swan"), ["A photo of {}."], tmp_path)
    assert head.columns.tolist() == [0, 1, 0]
    scores = head.scores(np.eye(model.dim, dtype=np.float32))
    assert (scores[:, 0] == scores[:, 2]).all()
    assert scores.shape == (model.dim, 3)


def test_a_damaged_head_is_built_again(tiny_clip, tmp_path):
    model, space = (
        load_model(f"open_clip:{tiny_clip}", device="cpu"),
        LabelSpace("two", ("ox", "crane"), (None,) * 2),
    )
    first = build_head(model, space, space.names, ["{}"], tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    for damaged in (whole[:-10], b""):
        file.write_bytes(damaged)
        again = build_head(model, space, space.names, ["{}"], tmp_path)
        assert np.array_equal(
            again.scores(np.eye(model.dim, dtype=np.float32)),
            first.scores(np.eye(model.dim, dtype=np.float32)),
        )
        assert file.read_bytes() == whole


def test_all_classes_without_an_output_are_in_one_message(tmp_path):
    model = load_model("efficientnet-lite0", device="cpu")
    space = LabelSpace("own", ("gooze", "tench", "angler fish"), (None, 0, None))
    with pytest.raises(UsageError) as caught:
        build_head(model, space, space.names, ["{}"], tmp_path)
    message = str(caught.value)
    assert "has no output for classes 'gooze' (did you mean 'goose'" in message
    assert "'angler fish'" in message
    assert message.endswith("Rename the classes, or use a CLIP or a model trained on them.")


def test_an_output_of_the_right_name_without_an_index_is_named_with_the_remedy(tmp_path):
    model = load_model("efficientnet-lite0", device="cpu")
    model.imagenet_columns = (None, *model.imagenet_columns[1:])
    space = LabelSpace("own", ("tench", "goldfish"), (0, 1))
    with pytest.raises(
        UsageError, match=r"output called 'tench', but .* ImageNet's class 0: give each output"
    ):
        build_head(model, space, space.names, ["{}"], tmp_path)


def test_each_name_has_the_scores_of_its_own_output_whatever_the_order(tmp_path):
    rng = np.random.default_rng(0)
    order = rng.permutation(1000).tolist()
    names = [imagenet_names("openai")[index] for index in order]
    model = load_model("efficientnet-lite0", device="cpu")
    model.imagenet_columns, model.class_names = (*order, None), (*names, "my own cat")
    space = LabelSpace("some", ("zebra", "my own cat", "polar bear", "hen"), (340, None, 296, 8))
    logits = rng.normal(size=(6, 1001)).astype(np.float32)
    scores = build_head(model, space, space.names, ["{}"], tmp_path).scores(logits)
    outputs = [order.index(340), 1000, order.index(296), order.index(8)]
    assert np.array_equal(scores, logits[:, outputs])


def test_any_class_of_imagenet_that_a_class_covers_counts_as_the_class(tmp_path):
    """The published mapping: the arg-max over ImageNet's 1000 classes, then the class that covers it."""
    model = load_model("efficientnet-lite0", device="cpu")
    dogs, fish = tuple(range(151, 269)), (0, 1, 389)
    space = LabelSpace("two", ("dog", "fish"), (None, None), members=(dogs, fish))
    photos = pl.DataFrame({"class_index": [0, 1]})
    among = candidate_labels(SimpleNamespace(classes=space, photos=photos), "imagenet", "openai")
    logits = np.random.default_rng(0).normal(size=(400, 1000)).astype(np.float32)
    logits[:, [*dogs, *fish]] += 1
    scores = build_head(model, among.space, among.texts, ["{}"], tmp_path).scores(logits)
    covered = {**dict.fromkeys(dogs, "dog"), **dict.fromkeys(fish, "fish")}
    expected = [covered.get(index, imagenet_names("openai")[index]) for index in logits.argmax(axis=1)]
    assert [among.space.names[index] for index in scores.argmax(axis=1)] == expected
    assert {"dog", "fish"} < set(expected)
    assert scores.shape == (400, 2 + 1000 - 118 - 3)
    alone = build_head(model, space, ("dog", "fish"), ["{}"], tmp_path).scores(logits)
    assert (alone[:, 0] == logits[:, dogs].max(axis=1)).all()


def test_the_best_of_several_texts_counts_for_a_name(tiny_clip, tmp_path):
    model = load_model(f"open_clip:{tiny_clip}", device="cpu")
    space = LabelSpace("two", ("bird", "bear"), (None, None), members=((80, 100), (294,)))
    among = candidate_labels(SimpleNamespace(classes=space), "imagenet", "openai")
    assert among.spellings is not None
    assert among.spellings[:2] == (("black grouse", "black swan"), ("brown bear",))
    head = build_head(model, among.space, among.spellings, ["{}"], tmp_path)
    texts = build_head(model, space, ("black grouse", "black swan"), ["{}"], tmp_path)
    photos = np.random.default_rng(0).normal(size=(50, model.dim)).astype(np.float32)
    assert len(head) == 999
    np.testing.assert_allclose(head.scores(photos)[:, 0], texts.scores(photos).max(axis=1), atol=1e-5)
    alone = candidate_labels(SimpleNamespace(classes=space), "benchmark", "openai")
    assert (alone.texts, alone.spellings) == (("bird", "bear"), None)


def test_a_name_without_an_output_for_one_of_its_classes_is_named(tmp_path):
    model = load_model("efficientnet-lite0", device="cpu")
    model.imagenet_columns = (None, *model.imagenet_columns[1:])
    space = LabelSpace("one", ("fish", "dog"), (None, None), members=((0, 1), (151,)))
    with pytest.raises(UsageError, match=r"has no output for class 'fish'"):
        build_head(model, space, space.names, ["{}"], tmp_path)
    model.class_names = ("fish", *model.class_names[1:])
    logits = np.eye(1000, dtype=np.float32)
    scores = build_head(model, space, space.names, ["{}"], tmp_path).scores(logits)
    assert scores[:, 0].tolist() == [1, *(999 * [0])]
