"""Tables of addresses: fetched once, resumed, and every row accounted for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import polars as pl
import pytest
from click.testing import CliRunner

from counterground.cli import main
from counterground.construction.cli import import_
from counterground.construction.imports import import_photos
from counterground.construction.pool import open_pool
from counterground.construction.settings import ImportOptions
from counterground.errors import CounterGroundError, UsageError

QUICK = ImportOptions(first_pause=0.01)


def table(path, rows):
    frame = pl.DataFrame(rows)
    (frame.write_parquet if path.suffix == ".parquet" else frame.write_csv)(path)
    return path


def rows_of(server, numbers, class_name="zebra"):
    return [{"url": server.address(number), "class_name": class_name} for number in numbers]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_rows_become_photos_with_what_they_say(tmp_path, photo_server, suffix):
    rows = [
        row
        | {
            "licence": "cc-by",
            "attribution": "(c) Ann",
            "observer": "ann",
            "cluster": f"c{number // 2}",
            "background": "grass" if number % 2 else None,
            "colour": "red",
        }
        for number, row in enumerate(rows_of(photo_server, range(4)))
    ]
    report = import_photos(tmp_path / "pool", table(tmp_path / f"t{suffix}", rows), QUICK)
    assert (report.added, report.present, report.rejected) == (4, 0, ())
    assert (report.backgrounds, report.by_class) == (2, {"zebra": 4})
    assert report.notes == ("Unused columns of the source: colour.",)
    pool = open_pool(tmp_path / "pool")
    photos = pool.photos().sort("url")
    assert photos["url"].to_list() == [photo_server.address(n) for n in range(4)]
    assert photos["cluster"].to_list() == ["c0", "c0", "c1", "c1"]
    assert set(photos["licence"]) == {"cc-by"}
    assert pool.verdicts("background")["label"].drop_nulls().to_list() == ["grass", "grass"]


def test_every_row_is_accounted_for(tmp_path, photo_server):
    photo_server.script = {"/3.jpg": [404], "/4.jpg": [b"<html>"] * 2, "/5.jpg": [503] * 20}
    rows = rows_of(photo_server, range(6))
    rows += [
        {"url": "", "class_name": "zebra"},
        {"url": "ftp://example.org/1.jpg", "class_name": "zebra"},
        {"url": photo_server.address(7), "class_name": ""},
        rows[0],
    ]
    report = import_photos(tmp_path / "pool", table(tmp_path / "t.csv", rows), QUICK)
    assert report.added == 3
    reasons = {one.item.replace(photo_server.url, ""): one.reason for one in report.rejected}
    wrong = "it has no class, or no address that begins with http"
    assert reasons == {
        "row 7: ": wrong,
        "row 8: ftp://example.org/1.jpg": wrong,
        "row 9: /7.jpg": wrong,
        "row 4: /3.jpg": "the server answered 404",
        "row 5: /4.jpg": "not an image",
        "row 6: /5.jpg": "the server answered 503 (4 tries)",
    }
    assert report.added + len(report.rejected) + 1 == len(rows)
    assert report.notes == ("Skipped 1 row with the address and the class of an earlier row.",)
    assert len(pl.read_csv(report.list_file)) == 6


def test_the_same_table_again_asks_only_for_what_did_not_come(tmp_path, photo_server):
    photo_server.script = {"/1.jpg": [404, 404], "/2.jpg": [503] * 4}
    source = table(tmp_path / "t.csv", rows_of(photo_server, range(4)))
    first = import_photos(tmp_path / "pool", source, QUICK)
    assert (first.added, len(first.rejected)) == (2, 2)
    asked = photo_server.asked.total()
    second = import_photos(tmp_path / "pool", source, QUICK)
    assert (second.added, second.present) == (1, 2)
    assert [one.reason for one in second.rejected] == ["the server answered 404"]
    assert photo_server.asked.total() == asked + 2
    third = import_photos(tmp_path / "pool", source, QUICK)
    assert (third.added, third.present, third.rejected, third.list_file) == (1, 3, (), None)
    last = import_photos(tmp_path / "pool", source, QUICK)
    assert (last.added, last.present) == (0, 4)


def test_a_corrected_table_corrects_photos_and_what_is_still_to_come(tmp_path, photo_server):
    photo_server.script = {"/2.jpg": [503] * 4}
    rows = [row | {"licence": "cc-by", "cluster": None} for row in rows_of(photo_server, range(3))]
    assert import_photos(tmp_path / "pool", table(tmp_path / "t.csv", rows), QUICK).added == 2
    corrected = [
        row | {"licence": "all rights reserved", "cluster": "ann", "observer": "ann"} for row in rows
    ]
    report = import_photos(tmp_path / "pool", table(tmp_path / "t.csv", corrected), QUICK)
    assert (report.added, report.present) == (1, 2)
    assert report.notes == (
        "Updated 2 photos of the pool from the source (licence 2, cluster 2, observer 2).",
    )
    photos = open_pool(tmp_path / "pool").photos()
    assert set(photos.select("licence", "cluster", "observer").rows()) == {
        ("all rights reserved", "ann", "ann")
    }


def test_offline_gives_up_no_row(tmp_path, photo_server, monkeypatch):
    rows = rows_of(photo_server, range(3))
    rows += [row | {"url": row["url"].replace("127.0.0.1", "127.1")} for row in rows_of(photo_server, (3, 4))]
    source = table(tmp_path / "t.csv", rows)
    monkeypatch.setenv("COUNTERGROUND_OFFLINE", "1")
    with pytest.raises(CounterGroundError, match=r"Fetching http://127\.1:\S+ needs the network"):
        import_photos(tmp_path / "pool", source, QUICK)
    assert "failed" not in open_pool(tmp_path / "pool").candidates()["status"].to_list()
    monkeypatch.delenv("COUNTERGROUND_OFFLINE")
    report = import_photos(tmp_path / "pool", source, QUICK)
    assert (report.added + report.present, report.rejected) == (5, ())


IMPORT = """
import sys
from counterground.construction.imports import import_photos
from counterground.construction.settings import ImportOptions
import_photos(sys.argv[1], sys.argv[2], ImportOptions(jobs=3))
"""


@pytest.mark.slow
def test_kill_loses_nothing_and_fetches_nothing_twice(tmp_path, photo_server):
    photo_server.delay = 0.02
    rows = [row | {"background": "snow"} for row in rows_of(photo_server, range(50))]
    source = table(tmp_path / "t.csv", rows)
    kills = 0
    for more in (3, 14):
        goal = photo_server.served.total() + more
        process = subprocess.Popen([sys.executable, "-c", IMPORT, str(tmp_path / "pool"), str(source)])
        while process.poll() is None and photo_server.served.total() < goal:
            time.sleep(0.002)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills == 2
    import_photos(tmp_path / "pool", source, QUICK)
    pool = open_pool(tmp_path / "pool")
    assert len(pool.photos()) == len(pool.decisions()) == 50
    # Only what was on its way at a kill may be asked for again: two photos, the most one host is asked.
    assert photo_server.served.total() <= 50 + 2 * kills


def test_columns_can_be_named_and_one_class_given(tmp_path, photo_server):
    rows = [{"link": photo_server.address(n), "species": "okapi", "scene": "tree"} for n in range(2)]
    source = table(tmp_path / "t.csv", rows)
    with pytest.raises(UsageError, match=r"no column 'url'; it has link, species, scene. Name the column"):
        import_photos(tmp_path / "pool", source, QUICK)
    with pytest.raises(UsageError, match="no column 'class_name'"):
        import_photos(tmp_path / "pool", source, ImportOptions(url_column="link"))
    with pytest.raises(UsageError, match="no column 'place'"):
        import_photos(
            tmp_path / "pool",
            source,
            ImportOptions(url_column="link", class_column="species", background_column="place"),
        )
    assert not (tmp_path / "pool").exists()
    named = ImportOptions(url_column="link", class_column="species", background_column="scene")
    assert import_photos(tmp_path / "pool", source, named).by_class == {"okapi": 2}
    one_class = ImportOptions(url_column="link", class_name="giraffe")
    report = import_photos(tmp_path / "pool", source, one_class)
    assert report.by_class == {"giraffe": 2}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no rows"),
        ("url,class_name\n", "has no rows"),
        ('url,class_name\n"a,b\n', "Cannot read the table"),
    ],
)
def test_tables_that_are_none_are_one_line(tmp_path, content, message):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(CounterGroundError, match=message) as error:
        import_photos(tmp_path / "pool", tmp_path / "t.csv", QUICK)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "pool").exists()


def test_the_command_prints_counts_and_where_the_list_is(tmp_path, photo_server):
    photo_server.script = {"/1.jpg": [404]}
    source = table(tmp_path / "t.csv", rows_of(photo_server, range(3)))
    result = CliRunner().invoke(import_, [str(source), "-o", str(tmp_path / "pool"), "-X", "jobs=2"])
    assert result.exit_code == 0
    assert "      2  zebra" in result.output
    assert "2 photos added, 0 already present, 1 rejected." in result.output
    assert f"Rejected: row 2: {photo_server.address(1)}: the server answered 404." in result.output
    assert str(tmp_path / "pool" / "imports") in result.output


def test_the_command_fails_where_nothing_came(tmp_path, photo_server):
    photo_server.script = {"/0.jpg": [404]}
    source = table(tmp_path / "t.csv", rows_of(photo_server, [0]))
    result = CliRunner().invoke(import_, [str(source), "-o", str(tmp_path / "pool")])
    assert isinstance(result.exception, CounterGroundError)
    assert main(["data", "import", "x", "-o", str(tmp_path / "pool"), "--rename", "a"]) == 2


def test_observers_are_clusters_unless_the_table_has_some(tmp_path, photo_server):
    rows = [
        row | {"observer": "ann" if number < 2 else None, "observation": None if number > 3 else number // 2}
        for number, row in enumerate(rows_of(photo_server, range(5)))
    ]
    source = table(tmp_path / "t.csv", rows)
    report = import_photos(tmp_path / "pool", source, QUICK)
    (note,) = report.notes
    said = "Photos of one observer (or else one observation) share a cluster: the source has no column"
    assert note == f"{said} 'cluster'."
    with open_pool(tmp_path / "pool") as pool:
        assert pool.photos().sort("url")["cluster"].to_list() == [
            *["observer:ann"] * 2,
            *["observation:1"] * 2,
            None,
        ]
    assert import_photos(tmp_path / "pool", source, QUICK).notes == report.notes
    given = table(tmp_path / "t.csv", [row | {"cluster": "" if row["observer"] else "herd"} for row in rows])
    import_photos(tmp_path / "other", given, QUICK)
    with open_pool(tmp_path / "other") as pool:
        assert pool.photos().sort("url")["cluster"].to_list() == [None, None, "herd", "herd", "herd"]


def test_photos_of_an_earlier_import_get_what_follows_from_the_table(tmp_path, photo_server):
    rows = [row | {"observer": "ann"} for row in rows_of(photo_server, range(3))]
    source = table(tmp_path / "t.csv", rows)
    import_photos(tmp_path / "pool", source, QUICK)
    with open_pool(tmp_path / "pool") as pool:
        first, second, third = pool.photos().sort("url")["path"]
        pool.update_photos({first: {"cluster": None, "source": None}, second: {"cluster": "herd"}})
    import_photos(tmp_path / "pool", source, QUICK)
    with open_pool(tmp_path / "pool") as pool:
        found = {row["path"]: row["cluster"] for row in pool.photos().to_dicts()}
        assert found == {first: "observer:ann", second: "herd", third: "observer:ann"}
        assert pool.photos()["source"].null_count() == 0
    import_photos(
        tmp_path / "pool", table(tmp_path / "t.csv", [r | {"observer": "ben"} for r in rows]), QUICK
    )
    with open_pool(tmp_path / "pool") as pool:
        found = {row["path"]: row["cluster"] for row in pool.photos().to_dicts()}
        assert found == {first: "observer:ben", second: "herd", third: "observer:ben"}


def test_the_page_of_a_photo_is_its_address_if_the_table_has_none(tmp_path, photo_server):
    first, second = rows_of(photo_server, range(2))
    rows = [first | {"source": "https://example.org/1"}, second | {"source": None}]
    rows[1]["url"] += "?token=abc"
    import_photos(tmp_path / "pool", table(tmp_path / "t.csv", rows), QUICK)
    with open_pool(tmp_path / "pool") as pool:
        assert set(pool.freeze().photos["source"]) == {"https://example.org/1", photo_server.address(1)}


def test_what_an_address_may_hide_is_neither_printed_nor_listed(tmp_path, photo_server):
    key = "?token=abcdefgh12345678"
    photo_server.script = {f"/1.jpg{key}": [404, 404], f"/2.jpg{key}": [503] * 4}
    rows = [row | {"url": row["url"] + key} for row in rows_of(photo_server, range(3))]
    rows.append({"url": f"ftp://example.org/3.jpg{key}", "class_name": "zebra"})
    source = table(tmp_path / "t.csv", rows)
    for _ in range(2):
        result = CliRunner().invoke(import_, [str(source), "-o", str(tmp_path / "pool")])
        (listed,) = (tmp_path / "pool" / "imports").iterdir()
        for text in (result.output, listed.read_text()):
            assert "abcdefgh" not in text
            assert f"row 2: {photo_server.address(1)}" in text
            assert "row 4: ftp://example.org/3.jpg" in text
