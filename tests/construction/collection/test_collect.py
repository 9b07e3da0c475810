"""Collecting: the newest photos, each once, with what is known of them; what fails is replaced."""

from io import BytesIO

import polars as pl
import pytest
from noise_photos import noise

from counterground.construction.collection import collect, plan_collection
from counterground.construction.pool import is_pool, open_pool
from counterground.construction.settings import CollectOptions
from counterground.errors import CounterGroundError
from counterground.http import DAY, Limit
from counterground.photos import photo_id


def numbers(frame):
    """Photo ids of rows, in order."""
    return [int(key.split(":")[1]) for key in frame["key"]]


def photo_gets(server):
    return server.asked_below("/photos")


def test_the_newest_photos_come_with_what_is_known_of_them(gather, pool, server, zebras, drawn):
    zebras(4)
    last = zebras(1, login="ann", observed_on="2024-07-09", licence=None)[0]
    report = gather(per_class=3)
    (one,) = report.classes
    assert (one.wanted, one.present, one.added, one.failed, one.missing) == (3, 0, 3, 0, 0)
    photos = pool().photos()
    assert sorted(numbers(photos)) == [300_003, 300_004, 300_005]
    row = photos.row(by_predicate=pl.col("key") == "inaturalist:300005", named=True)
    file = pool().root / row["path"]
    assert row["path"] == "files/zebra/inaturalist-300005.jpg"
    assert file.read_bytes() == drawn[4]
    assert row["photo_id"] == photo_id(file)
    assert (row["width"], row["height"], row["bytes"]) == (48, 40, len(drawn[4]))
    assert (row["observation"], row["observer"], row["cluster"]) == (str(last.id), "ann", "observer:ann")
    assert (row["taxon"], row["taxon_id"], row["observed_on"]) == (
        "Equus quagga",
        last.taxon.id,
        "2024-07-09",
    )
    assert (row["licence"], row["attribution"]) == ("all-rights-reserved", "(c) ann, all rights reserved")
    assert row["source"] == f"{server.address}/observations/{last.id}"
    assert row["url"] == f"{server.address}/photos/300005/medium.jpg"
    assert one.bytes == sum(photos["bytes"])
    assert "1 of 3 photos are all rights reserved" in report.notes[-1]
    assert (pool().root / "photos.parquet").is_file()


def test_more_of_the_same_query_goes_on_where_it_stopped(gather, pool, server, zebras):
    zebras(230)
    gather(per_class=2)
    assert server.asked_below("/v1/observations") == 1
    (one,) = gather(per_class=203).classes
    assert (one.added, one.present) == (201, 2)
    assert server.asked_below("/v1/observations") == 2
    assert set(server.gets_by_photo().values()) == {1}
    candidates = pool().candidates("zebra")
    assert candidates["position"].to_list() == list(range(230))
    assert numbers(candidates) == list(range(300_230, 300_000, -1))


def page_in_place_of_a_photo():
    return {"body": b"<html>gone</html>", "content_type": "text/html"}


@pytest.mark.parametrize(
    ("what", "reason", "tries"),
    [
        ({"status": 404}, "404", 1),
        ({"status": 403}, "403", 1),
        ({"status": 410}, "410", 1),
        (page_in_place_of_a_photo(), "not an image", 2),
        ({"body": b""}, "empty", 2),
        ({"body": b"\xff\xd8\xff\xe0 no more of a photo than its first bytes"}, "truncated", 2),
    ],
)
def test_a_photo_that_is_none_is_replaced_by_the_next_newest(
    gather, pool, server, zebras, what, reason, tries
):
    broken = zebras(5)[-2].photos[0]
    server.trouble(f"/photos/{broken.id}/", times=None, **what)
    report = gather(per_class=3)
    (one,) = report.classes
    assert (one.added, one.failed, one.missing) == (3, 1, 0)
    assert sorted(numbers(pool().photos())) == [300_002, 300_003, 300_005]
    row = pool().candidates("zebra").row(by_predicate=pl.col("status") == "failed", named=True)
    assert reason in row["reason"]
    assert server.gets_by_photo()[broken.id] == tries
    gather(per_class=4)
    assert server.gets_by_photo()[broken.id] == tries


def test_filters(server, zebras, tmp_path):
    zebras(1, quality="needs_id")
    zebras(1, observed_on="2023-01-05")
    zebras(1, observed_on="2024-01-05", places=(9,))
    for number, (given, expected) in enumerate(
        [
            ({"quality": "needs_id"}, [300_001]),
            ({"quality": "any"}, [300_003, 300_002, 300_001]),
            ({"since": "2024-01-01"}, [300_003]),
            ({"until": "2023-01-05"}, [300_002]),
            ({"place": 9}, [300_003]),
        ]
    ):
        folder = tmp_path / f"pool{number}"
        collect(
            folder,
            ["zebra"],
            CollectOptions(api_url=server.api_url, **given),
        )
        assert numbers(open_pool(folder).candidates("zebra")) == expected, given


def test_licences(options, server, zebras, drawn, tmp_path):
    for licence in ("cc0", "CC-BY-NC", None):
        zebras(1, licence=licence)
    taxon = server.taxa[min(server.taxa)]
    mixed = server.add_observation(taxon, [drawn[40], drawn[41]], licence=None)
    mixed.photos[1].licence = "cc0"
    expected = {
        (): {300_001, 300_002, 300_003, 300_004},
        ("cc0",): {300_001, 300_005},
        ("all-rights-reserved",): {300_003, 300_004},
        ("cc0", "all-rights-reserved"): {300_001, 300_003, 300_004},
    }
    for number, (licences, keys) in enumerate(expected.items()):
        folder = tmp_path / f"pool{number}"
        collect(folder, ["zebra"], options(licences=licences))
        photos = open_pool(folder).photos()
        assert set(numbers(photos)) == keys
        assert not licences or set(photos["licence"]) <= set(licences)
        assert all(licence == licence.lower() for licence in photos["licence"])


def test_another_query_is_refused_unless_added(gather, pool, server, zebras):
    zebras(6, licence="cc-by")
    zebras(2, licence="cc0")
    gather(per_class=3)  # leaves five candidates waiting, one of them cc-by and newer than others
    before = photo_gets(server)
    with pytest.raises(CounterGroundError, match=r"another query \(other licences\).*--add"):
        gather(per_class=5, licences=("cc0",))
    assert photo_gets(server) == before
    zebras(2, licence="cc0")
    (one,) = gather(per_class=5, licences=("cc0",), add=True).classes
    assert (one.present, one.added) == (3, 2)
    assert sorted(numbers(pool().photos())) == [300_006, 300_007, 300_008, 300_009, 300_010]
    # The same command again has nothing to do, and what was left of the first query stays behind.
    (one,) = gather(per_class=9, licences=("cc0",)).classes
    assert (one.added, one.missing) == (0, 4)


def test_a_photo_belongs_to_one_class(gather, server, zebras):
    quagga = zebras(3)[0].taxon
    report = gather("zebra", "striped horse", per_class=2, taxa={"striped horse": (quagga.id,)})
    first, second = report.classes
    assert (first.added, second.added, second.failed) == (2, 1, 0)
    assert set(server.gets_by_photo().values()) == {1}


def test_the_days_bytes_end_the_run_and_what_came_stays(gather, pool, server, monkeypatch, zebras):
    limits = {"requests": (), "bytes": (Limit(DAY, 250_000),)}
    monkeypatch.setattr(CollectOptions, "limits", limits)
    taxon = server.taxa[min(server.taxa)]
    for seed in range(12):
        photo = BytesIO()
        noise((240, 200), seed, coarse=(200, 240)).save(photo, "JPEG")
        server.add_observation(taxon, [photo.getvalue()])
    with pytest.raises(
        CounterGroundError, match=r"daily budget of photo bytes is spent.*run the same command again after"
    ):
        gather(per_class=12, size="small")
    for _ in range(9):
        with pytest.raises(CounterGroundError, match="is spent"):
            gather(per_class=12, size="small")
    assert 0 < sum(pool().photos()["bytes"]) <= 250_000


def test_a_dry_run_counts_and_leaves_no_trace(options, server, zebras, tmp_path):
    zebras(7, licence="cc0")
    zebras(2)
    plan = plan_collection(
        tmp_path / "pool", ["zebra", "Beagle"], options(per_class=5, taxa={"Beagle": (41_002,)})
    )
    zebra, beagle = plan.classes
    assert (zebra.available, zebra.present, zebra.added, zebra.bytes) == (9, 0, 5, 5 * 200_000)
    assert (beagle.available, beagle.added, beagle.bytes) == (0, 0, 0)
    assert photo_gets(server) == 0
    assert not is_pool(tmp_path / "pool")
    assert not (tmp_path / "pool").exists()


@pytest.mark.parametrize("what", [{"status": 403}, page_in_place_of_a_photo()])
def test_a_host_that_refuses_every_photo_ends_the_run_and_they_stay_wanted(
    gather, pool, server, zebras, what
):
    zebras(60)
    gather(per_class=5)
    before = photo_gets(server)
    server.trouble("/photos", times=None, **what)
    with pytest.raises(CounterGroundError, match=r"refuses every photo .*these photos stay wanted"):
        gather(per_class=40)
    assert photo_gets(server) - before <= 2 * 32
    assert set(pool().candidates("zebra")["status"]) == {"got", "wanted"}
    server.troubles.clear()
    (one,) = gather(per_class=40).classes
    assert (one.added, one.failed) == (35, 0)


def test_pages_go_by_id_while_people_upload(gather, pool, server, zebras):
    zebras(450)
    gather(per_class=1)
    zebras(30)  # page numbers would now show 30 photos twice
    gather(per_class=449)
    keys = numbers(pool().candidates("zebra"))
    assert keys == list(range(300_450, 300_000, -1))
    asked = [query for path, query in server.queries if path == "/v1/observations"]
    assert [one.get("id_below") for one in asked] == [None, "200251", "200051"]
    assert all((one["order_by"], one["order"], one["per_page"]) == ("id", "desc", "200") for one in asked)
    assert not any("page" in one for one in asked)


def test_a_server_that_ignores_ids_does_not_keep_us_for_ever(gather, server, zebras):
    zebras(3)
    server.trouble("/v1/observations", body=b'{"total_results": 900, "results": [{"id": 5}]}', times=None)
    (one,) = gather(per_class=3).classes
    assert (one.added, one.exhausted, server.asked_below("/v1/observations")) == (0, True, 2)
