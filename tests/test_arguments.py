"""What public functions take as numbers, switches, paths and lists of texts."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from counterground.arguments import checked, checked_fields, texts
from counterground.errors import UsageError


@checked
def taken(
    out: Path | str, *, limit: int | None = None, share: float = 0.5, quick: bool = False, word: str = ""
):
    return out, limit, share, quick, word


@checked_fields
@dataclass(frozen=True)
class Chosen:
    limit: int | None = None
    share: float = 0.5


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"limit": np.int64(3)}, 3),
        ({"limit": np.array(3)}, 3),
        ({"limit": torch.tensor(3)}, 3),
        ({"share": np.float32(0.25)}, 0.25),
        ({"share": 1}, 1),
        ({"share": Fraction(1, 4)}, 0.25),
        ({"share": float("inf")}, float("inf")),
        ({"quick": np.bool_(True)}, True),
        ({"limit": None}, None),
        ({"word": Path("a")}, Path("a")),
    ],
)
def test_what_is_a_number_or_a_switch_becomes_that_of_python(given, found):
    (name,) = given
    value = taken("a", **given)[["limit", "share", "quick", "word"].index(name) + 1]
    assert value == found
    assert type(value) is type(found)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"limit": "3"}, "limit must be a whole number, not str"),
        ({"limit": 2.5}, "limit must be a whole number, not float"),
        ({"limit": True}, "limit must be a whole number, not bool"),
        ({"limit": np.array([1, 2])}, "limit must be a whole number, not ndarray"),
        ({"limit": 10**400}, "limit is too large"),
        ({"share": None}, "share must be a number, not NoneType"),
        ({"share": pl.Series([1])}, "share must be a number, not Series"),
        ({"share": 10**400}, "share is too large"),
        ({"share": Fraction(-(10**400), 3)}, "share is too large"),
        ({"quick": "no"}, "quick must be True or False, not str"),
        ({"quick": pd.DataFrame({"a": [1]})}, "quick must be True or False, not DataFrame"),
        ({"out": None}, "out must be a path, not NoneType"),
        ({"out": b"a"}, "out must be a path, not bytes"),
        ({"out": "a\0"}, "no file can have that name"),
        ({"out": Path("a\ud800")}, "no file can have that name"),
    ],
)
def test_anything_else_is_refused_in_one_line(given, said):
    with pytest.raises(UsageError, match=said):
        taken(**{"out": "a", **given})


def test_a_call_that_does_not_fit_is_the_error_of_python():
    with pytest.raises(TypeError, match=r"taken\(\) missing 1 required positional argument: 'out'"):
        taken()


def test_fields_of_a_dataclass_are_checked_as_arguments_are():
    assert Chosen(np.int32(3)) == Chosen(3)
    with pytest.raises(UsageError, match="share must be a number, not str"):
        Chosen(share="much")


@pytest.mark.parametrize(
    "given",
    [["a", "b"], ("a", "b"), iter("ab"), np.array(["a", "b"]), pd.Series(["a", "b"]), {"a": 1, "b": 2}],
)
def test_several_texts_are_a_list(given):
    assert texts("models", given) == ["a", "b"]


@pytest.mark.parametrize("given", [None, 3, b"a", ["a", 3], np.array(3), pd.DataFrame({"a": [1]})])
def test_what_is_not_text_is_refused(given):
    with pytest.raises(UsageError, match="models takes one text or several, not"):
        texts("models", given)
