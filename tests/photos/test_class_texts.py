"""Names that no caption has."""

import pytest

from counterground.photos import badly_read_names, imagenet_names


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("AnnualCrop", "words run together"),
        ("PermanentCROP", "words run together"),
        ("sea_lake", "an underscore"),
        ("n02123045", "a WordNet id"),
        ("17", "a bare number"),
        ("x", "a single letter"),
        ("RIVER", "all capitals"),
    ],
)
def test_an_odd_name_is_named_with_what_is_odd(name, what):
    assert badly_read_names(["golden eagle", name]) == (
        f"1 of 2 class names may read badly to a text encoder: {name!r} ({what})"
    )


def test_capitals_count_where_all_names_have_them():
    assert "3 of 3" in badly_read_names(["CAT", "DOG", "OX"])
    assert badly_read_names(["SUV", "lorry"]) == ""


def test_only_some_are_shown():
    assert badly_read_names(["a_a", "b_b", "c_c", "d_d"]).endswith("'c_c' (an underscore) and 1 more")


def test_names_of_captions_are_left_alone():
    assert badly_read_names(imagenet_names("openai")) == ""
    assert badly_read_names(["McLaren MP4-12C Coupe 2012", "T-shirt", "747 jet", "Crète", "犬科"]) == ""
