"""A few photos for a quick trial: spread over the cells, the same ones each time, and said to be a trial."""

from __future__ import annotations

import polars as pl
import pytest
from noise_photos import save_animals

from counterground.errors import UsageError
from counterground.photos import read_benchmark, sample_photos


def test_a_sample_takes_one_photo_of_each_cell_before_a_second(tmp_path):
    whole = read_benchmark(save_animals(tmp_path / "photos"))
    for limit, most in ((6, 1), (8, 2), (12, 2)):
        few = sample_photos(whole, limit)
        sizes = few.photos.group_by("class_index", "group", "background").len()["len"]
        assert (len(few.photos), len(sizes), sizes.max()) == (limit, 6, most)
        assert few.notes[-1].startswith(f"A trial on {limit} of 48 photos")
        assert few.version != whole.version
    few = sample_photos(whole, 3).photos["class_index"]
    assert sorted(few.value_counts()["count"]) == [1, 2]
    (first,) = whole.photos.filter(pl.col("photo_id") == pl.col("photo_id").min())["class_index"]
    assert few.mode().to_list() == [first]
    with pytest.raises(UsageError, match="at least 1 photo, not -3"):
        sample_photos(whole, -3)
    assert sample_photos(whole, 48) is whole


def test_the_same_photos_give_the_same_sample_under_other_names(tmp_path):
    first = read_benchmark(save_animals(tmp_path / "photos"))
    for path in sorted((tmp_path / "photos").rglob("*.jpg")):
        path.rename(path.with_name(f"z{9 - int(path.stem)}.jpg"))
    again = read_benchmark(tmp_path / "photos")
    ids = [set(sample_photos(each, 12).photos["photo_id"]) for each in (first, again)]
    assert ids[0] == ids[1]
