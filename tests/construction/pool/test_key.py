"""The key of a photo in its parts."""

import polars as pl

from counterground.construction.pool import PhotoKey, is_from


def test_a_key_is_its_source_and_a_name_that_may_hold_colons():
    key = PhotoKey("url", "https://example.org/a.jpg")
    assert str(key) == f"{key}" == "url:https://example.org/a.jpg"
    assert PhotoKey.parse(str(key)) == key


def test_rows_are_chosen_by_their_whole_source():
    keys = pl.DataFrame({"key": ["inaturalist:1", "inaturalist2:1", "url:inaturalist:1", None]})
    assert keys.filter(is_from("inaturalist"))["key"].to_list() == ["inaturalist:1"]
