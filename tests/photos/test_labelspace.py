"""Label spaces: names that occur twice, strict look-up, JSON."""

import re
from collections import Counter

import numpy as np
import pytest

from counterground.errors import CounterGroundError, UsageError
from counterground.photos import LabelSpace, imagenet_classes


def test_imagenet_spaces_keep_double_names():
    openai = imagenet_classes("openai")
    assert len(openai) == 1000
    assert openai.imagenet == tuple(range(1000))
    assert {name for name, n in Counter(openai.names).items() if n > 1} == {"missile", "sunglasses"}
    wordnet = imagenet_classes("wordnet").names
    assert {name for name, n in Counter(wordnet).items() if n > 1} == {"crane"}
    assert wordnet[134] == wordnet[517] == "crane"


def test_a_class_is_found_by_its_exact_name():
    space = imagenet_classes("openai")
    assert space.index_of("black swan") == 100
    for name, count in (("missile", 2), ("Black_Swan", 0)):
        with pytest.raises(UsageError, match=f"'{name}' is the name of {count} classes"):
            space.index_of(name)


def test_json_round_trip(tmp_path):
    space = LabelSpace("twenty", ("crème", 'a "b"', "c"), (None, 5, 7), {2: (0, 2), 0: (0, 1)})
    assert LabelSpace.from_json(space.to_json()) == space
    space.save(tmp_path / "space.json")
    assert LabelSpace.load(tmp_path / "space.json") == space
    swapped = LabelSpace("twenty", space.names, space.imagenet, {0: (0, 1), 2: (0, 2)})
    assert swapped.to_json() == space.to_json()
    assert hash(swapped) == hash(space)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((("a", " "), (None, None)), "a class has an empty name"),
        ((("a",), (1000,)), "1000 is not an ImageNet-1K index"),
        ((("a", "b"), (3, 3)), "two classes have ImageNet index 3"),
        ((("a", "b"), (3, 4), {0: (1, 1)}), "the candidates of class 0"),
    ],
)
def test_what_does_not_fit_together_is_refused(arguments, message):
    with pytest.raises(CounterGroundError, match=re.escape(message)):
        LabelSpace("x", *arguments)


def test_indices_of_numpy_are_numbers_that_can_be_saved(tmp_path):
    space = LabelSpace("x", ("a", "b"), tuple(np.array([207, 281])), members=(tuple(np.array([207])), (281,)))
    space.save(tmp_path / "space.json")
    assert LabelSpace.load(tmp_path / "space.json") == space


@pytest.mark.parametrize(
    "text",
    ["{", "[]", "{}", '{"name": "x", "names": ["a"]}', '{"name": "x", "names": [1], "imagenet": [1]}',
     '{"name": "x", "names": ["a"], "imagenet": [true]}', '{"name": "x", "names": ["a"], "imagenet": ["3"]}',
     '{"name": "x", "names": ["a"], "imagenet": [3], "candidates": {"q": [0]}}',
     '{"name": "x", "names": "a", "imagenet": 3}'],
)  # fmt: skip
def test_files_that_are_no_label_space(tmp_path, text):
    path = tmp_path / "space.json"
    path.write_text(text)
    with pytest.raises(CounterGroundError, match=r"space\.json") as caught:
        LabelSpace.load(path)
    assert "\n" not in str(caught.value)


def test_classes_wider_than_those_of_imagenet():
    space = LabelSpace("two", ("dog", "fish"), (None, None), members=((151, 152), (0,)))
    assert LabelSpace.from_json(space.to_json()) == space
    assert "members" not in LabelSpace("two", ("dog", "fish"), (None, None)).to_json()
