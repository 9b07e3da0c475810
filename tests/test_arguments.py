"""What public functions and settings take as numbers, switches, paths and lists of texts."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from counterground.arguments import Positive, Share, Text, Whole, checked, checked_fields, texts
from counterground.errors import UsageError


@checked
def taken(
    out: Path | str, *, limit: int | None = None, share: float = 0.5, quick: bool = False, seed: Whole = 0
):
    return {"out": out, "limit": limit, "share": share, "quick": quick, "seed": seed}


@checked_fields
@dataclass(frozen=True)
class Chosen:
    """What was chosen."""

    limit: Positive | None = None
    share: Share = 0.5
    how: Literal["onnx", "eager"] = "eager"
    device: Text = "cpu"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"limit": np.int64(3)}, 3),
        ({"limit": torch.tensor(3)}, 3),
        ({"share": np.float32(0.25)}, 0.25),
        ({"share": Fraction(1, 4)}, 0.25),
        ({"quick": np.bool_(True)}, True),
        ({"limit": None}, None),
        ({"out": "~/a"}, Path.home() / "a"),
        ({"out": "a"}, "a"),
    ],
)
def test_what_is_a_number_a_switch_or_a_path_becomes_that_of_python(given, found):
    (name,) = given
    value = taken(**{"out": "a", **given})[name]
    assert value == found
    assert type(value) is type(found)


@pytest.mark.parametrize(
    "given",
    [
        {"limit": "many"},
        {"limit": 2.5},
        {"limit": np.array([1, 2])},
        {"share": None},
        {"share": pl.Series([1, 2])},
        {"quick": pd.DataFrame({"a": [1]})},
        {"out": None},
        {"seed": -1},
    ],
)
def test_anything_else_is_refused_in_one_line_that_names_it(given):
    (name,) = given
    with pytest.raises(UsageError, match=f"^{name} .*, not [^\n]*$"):
        taken(**{"out": "a", **given})


def test_a_call_that_does_not_fit_is_the_error_of_python():
    with pytest.raises(TypeError, match="missing a required argument: 'out'"):
        taken()


def test_fields_of_a_dataclass_are_checked_too():
    chosen = Chosen(np.int32(3), device=torch.device("cpu"))
    assert chosen == Chosen(3) == pickle.loads(pickle.dumps(chosen))
    assert Chosen.__doc__ == "What was chosen."
    for name, value in (("share", 1.5), ("limit", 0), ("device", None)):
        with pytest.raises(UsageError, match=f"^{name} .*, not {value}"):
            replace(chosen, **{name: value})
    with pytest.raises(UsageError, match="Did you mean 'onnx'"):
        Chosen(how="onxn")


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
