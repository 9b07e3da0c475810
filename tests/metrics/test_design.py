"""How contrasts are written, what a design refuses, and what is read back."""

import json
import re

import polars as pl
import pytest

from counterground.errors import UsageError
from counterground.metrics import (
    DESIGN,
    DROP,
    Contrast,
    Design,
)

PHOTOS = pl.DataFrame(
    {
        "class_name": ["gull", "gull", "wren", "wren"],
        "background": ["sea", "wood", "sea", None],
        "group": pl.Series([None] * 4, dtype=pl.String),
        "cluster": ["a", "b", "c", "d"],
        "place": ["open water", "land", "land", "a - b"],
        "object": ["1", "2", "3", "4"],
        "size": [0.1, 0.2, 0.3, None],
    }
)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("drop: group=common - group=counter", str(DROP)),
        (" x:place = open water|land -  all within  weather , class_name", None),
        ("place=a - place=b", "contrast: place=a - place=b"),
        ('x: place="a - b" & size<0.2 - size>=0.2|-1 within all', None),
        ("x: average(training) - bg!=\"don't\" & co='a|b'", 'x: average(training) - bg!="don\'t" & co="a|b"'),
        ("x: place='within' - all=all", 'x: place="within" - all=all'),
    ],
)
def test_what_is_written_reads_back(text, written):
    contrast = Contrast.parse(text)
    assert Contrast.parse(str(contrast)) == contrast
    if written:
        assert str(contrast) == written


def test_an_expression_says_its_parts():
    contrast = Contrast.parse("fog: place=open water|land & size<0.2 - all within weather, class_name")
    assert contrast == Contrast("fog", "place=open water|land & size<0.2", "all", ("weather", "class_name"))
    first, second = contrast.sides[0].conditions
    assert (first.column, first.sign, first.values) == ("place", "=", ("open water", "land"))
    assert (second.column, second.sign, second.values) == ("size", "<", ("0.2",))
    assert contrast.sides[1].conditions == ()
    assert contrast.columns == ("place", "size", "weather", "class_name")
    assert Contrast.parse("a=b - c=d").within == ("class_name",)
    assert Contrast.parse("a=b - c=d within all").within == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a name is missing at its end"),
        ("place=a", "'-' is missing at its end"),
        ("place - place=a", "'place' needs = and a value"),
        ("place=a -place=b", "'-' is missing before '='"),
        ("place=a| - place=b", "a name is missing before '-'"),
        ("place=a & - place=b", "a name is missing before '-'"),
        ("place=a - place=b within", "a name is missing at its end"),
        ("place=a - place=b within class_name place", "'place' is one word too many"),
        ("average(x - all", "')' is missing before '-'"),
        ('place="a - all', "cannot be read; quote values that hold signs"),
        ("place=a - place=a", "compares 'place=a' with itself"),
        ("place=a - all within place, place", "names a column twice"),
        ("Fog: place=a - all", "cannot be called 'Fog'"),
        ("drop: place=a - all", "cannot be called 'drop', which is another score"),
    ],
)
def test_malformed_text_is_said_in_one_line(text, message):
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        Contrast.parse(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "plaec=land - all",
            "There is no column 'plaec' for the contrast 'contrast'; there are class_name, ",
        ),
        ("plaec=land - all", "Did you mean 'place'?"),
        (
            "place=lamd - all",
            "No photo has place=lamd; there are a - b, land, open water. Did you mean 'land'?",
        ),
        ("size<x - all", "The column 'size' has numbers, and 'x' is not one."),
        ("size<nan - size>0.2", "The column 'size' has numbers, and 'nan' is not one."),  # < would select all
        ("place<1 - all", "The column 'place' has texts, which < does not compare: use = or !=."),
        ("size<0 - all", "no photo is on the side 'size<0'"),
        ("place=land - place!=land within size", "The column 'size' has numbers; 'within' of the contrast"),
        ("place=land - place!=land within object", "within object, no stratum of 4 has photos on both sides"),
        (
            "average(training) - all",
            "averages by the shares 'training', which the design does not name; it has",
        ),
        ("sea", "There is no contrast 'sea'; there is drop: group=common - group=counter. Or write"),
        ("correct=yes - all", "There is no column 'correct'"),
    ],
)
def test_what_these_photos_do_not_have_is_said_in_one_line(text, message):
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        DESIGN.find(text, PHOTOS)
    assert "\n" not in str(caught.value)


def test_a_contrast_is_found_by_its_name_or_made_of_an_expression():
    own = Contrast("sea", "background=sea", "all")
    design = Design(contrasts=(own, DROP))
    assert design.find(" sea ", PHOTOS) == own
    assert design.find("background=sea - all", PHOTOS) == Contrast("contrast", "background=sea", "all")
    with pytest.raises(UsageError, match="another contrast of that name"):
        design.find("sea: place=land - all", PHOTOS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cells": ()}, "names one column of cells or several"),
        ({"cells": ("place", "place")}, "each once"),
        ({"contrasts": ()}, "at least one contrast"),
        ({"contrasts": (DROP, DROP)}, "Two contrasts are called 'drop'"),
        ({"weights": {"t": {("gull",): 1}}}, "a cell has a value of class_name, group"),
        ({"weights": {"t": {("gull", "common"): -1}}}, "must be numbers of at least 0"),
        ({"weights": {"t": {("gull", "common"): 0}}}, "not all of them 0"),
        ({"weights": {"t": {("gull", "common"): 10**400}}}, "must be numbers of at least 0"),
        ({"weights": {"t": {("gull", "common"): "many"}}}, "must be numbers of at least 0"),
        ({"weights": {"T": {("gull", "common"): 1}}}, "cannot be called 'T'"),
        ({"contrasts": (Contrast("x", "average(t)", "all"),)}, "does not name; it has none"),
    ],
)
def test_a_design_that_cannot_be_is_refused(arguments, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        Design(**arguments)


def test_shares_of_a_cell_without_photos_are_refused_where_values_count():
    design = Design(("class_name", "place"), weights={"t": {("gull", "land"): 1, ("wren", "open water"): 2}})
    design.check(PHOTOS, values=False)
    with pytest.raises(UsageError, match="No photo is in the cell wren & open water of the shares 't'"):
        design.check(PHOTOS)


def test_named_shares_are_kept_with_a_design():
    cells = {("gull", "land"): 1, ("wren", "open water"): 2}
    design = Design(("class_name", "place"), weights={"t": cells})
    assert Design.from_json(json.loads(json.dumps(design.to_json()))) == design
