"""Photos behind URLs and in data sets: read as ``evaluate`` reads them, every row accounted for."""

from __future__ import annotations

import datasets
import made_pools
import polars as pl
import pytest

from counterground.construction.imports import import_photos
from counterground.construction.pool import BACKGROUND_LABELS, open_pool
from counterground.construction.settings import ImportOptions
from counterground.errors import CounterGroundError, UsageError


def test_rows_become_photos_with_what_they_say(tmp_path, photo_server):
    key = "?token=abcdefgh12345678"
    photo_server.script = {f"/3.jpg{key}": [404]}
    rows = {
        "link": [f"{photo_server.address(number)}{key if number == 3 else ''}" for number in range(5)],
        "species": ["zebra"] * 5,
        "scene": ["grass", None, "grass", "road", "Reef"],
        "observer": ["ann", "ann", None, None, "ben"],
        "licence": ["cc-by"] * 5,
        "colour": ["red"] * 5,
    }
    pl.DataFrame(rows).write_csv(tmp_path / "t.csv")
    source = f"{tmp_path}/t.csv?image=link&label=species&background=scene"
    report = import_photos(tmp_path / "pool", source)
    assert (report.added, report.present, report.backgrounds) == (4, 0, 3)
    assert [one.reason for one in report.rejected] == ["not fetched: the server answered 404"]
    assert "abcdefgh" not in f"{report.notes}{report.list_file.read_text()}"
    with open_pool(tmp_path / "pool") as pool:
        photos = pool.photos()
        assert photos["cluster"].value_counts().sort("cluster").rows() == [
            (None, 1),
            ("observer:ann", 2),
            ("observer:ben", 1),
        ]
        assert set(photos["licence"]) == {"cc-by"}
        assert set(photos["source"]) == {photo_server.address(number) for number in (0, 1, 2, 4)}
        assert pool.background_labels() == [*BACKGROUND_LABELS, "Reef"]
    again = import_photos(tmp_path / "pool", source)
    assert (again.added, again.present, len(again.rejected), again.backgrounds) == (0, 4, 1, 0)
    with pytest.raises(CounterGroundError, match=r"t\.csv"):
        import_photos(tmp_path / "pool", tmp_path / "t.csv")


def test_a_data_set_keeps_its_bytes(tmp_path, labelled):
    files = sorted(labelled.rglob("*.jpg"))
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["zebra", "flamingo"])}
    rows = {"image": [str(file) for file in files], "label": [number % 2 for number in range(9)]}
    made = datasets.Dataset.from_dict(rows, features=datasets.Features(features))
    datasets.DatasetDict(test=made).save_to_disk(tmp_path / "saved")
    for source in (str(tmp_path / "saved"), f"hf:{tmp_path / 'saved'}?split=test"):
        report = import_photos(tmp_path / "pool", source)
        assert (report.added + report.present, report.rejected) == (9, ())
    with open_pool(tmp_path / "pool") as pool:
        kept = {(pool.root / path).read_bytes() for path in pool.photos()["path"]}
    assert kept == {file.read_bytes() for file in files}


def test_a_person_keeps_one_spelling_of_their_name(tmp_path, labelled):
    with made_pools.fill_pool(tmp_path / "pool", {"flamingo": 2}, licence=lambda _: "cc0") as pool:
        pool.decide(pool.photos()["path"][0], annotator="Ann", task="background", labels=["sand"])
    with pytest.raises(UsageError, match="has decisions by 'Ann': use that name"):
        import_photos(tmp_path / "pool", labelled, ImportOptions(annotator="ann "))
    assert import_photos(tmp_path / "pool", labelled, ImportOptions(annotator="Ann")).added == 9
