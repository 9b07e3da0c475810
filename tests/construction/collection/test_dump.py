"""Collecting by the open-data dump: its list in place of the API's, photos from where they lie."""

import uuid

import polars as pl
import pytest
from inaturalist_server import Photo
from open_data_dump import write_dump

from counterground.construction.collection import (
    CollectOptions,
    UnclearClasses,
    WantedClass,
    collect,
    plan_collection,
)
from counterground.construction.pool import open_pool

TAXA = [
    (1, "48460", 70, "kingdom", "Animalia", "true"),
    (10, "48460/1", 20, "genus", "Equus", "true"),
    (11, "48460/1/10", 10, "species", "Equus quagga", "true"),
    (12, "48460/1/10", 10, "species", "Equus grevyi", "true"),
    (13, "48460/1", 10, "species", "Struthio camelus", "true"),
    (14, "48460/\N{SUPERSCRIPT TWO}/1", 10, "species", "Struthio massaicus", "false"),
    (20, "48460/47126", 20, "genus", "Agama", "true"),
    (21, "48460/1", 20, "genus", "Agama", "true"),
]


@pytest.fixture
def dump(tmp_path, server, drawn):
    """Forty observations of zebras and five of ostriches; the server holds their photos."""
    observations, photos = [], []
    for number in range(45):
        taxon = 13 if number % 9 == 0 else 11 + number % 2
        identity = uuid.UUID(int=number)
        observations.append((identity, 1 + number % 5, 1, 2, 3, taxon, "research", "2024-05-01"))
        photos.append((identity, 900 + number, identity, 1 + number % 5, "jpg", "CC-BY", 2048, 1536, 0))
    server.photos |= {row[1]: Photo(row[1], drawn[row[1] % 64]) for row in photos}
    observers = [(n, f"login{n}", "") for n in range(1, 6)]
    tables = {"taxa": TAXA, "observations": observations, "photos": photos, "observers": observers}
    return write_dump(tmp_path / "dump", tables)


@pytest.fixture
def options(server, dump):
    def make(**given):
        mirror = {
            "open_data": dump,
            "media_url": server.address,
            "api_url": server.api_url,
            "first_pause": 0.01,
        }
        return CollectOptions(**(mirror | given))

    return make


def test_the_dump_is_listed_in_place_of_the_api(server, options, tmp_path):
    server.trouble("/photos/944/", times=None, status=404)
    report = collect(tmp_path / "pool", ["zebra", "ostrich"], options(per_class=6))
    zebra, ostrich = report.classes
    assert zebra.taxa == ("Equus quagga", "Equus grevyi")
    assert (zebra.added, zebra.failed, zebra.missing) == (6, 1, 0)
    assert (ostrich.added, ostrich.missing, ostrich.exhausted) == (5, 1, True)
    assert "zebra: these of its taxa were not found and are left out: Equus zebra." in report.notes
    photos = open_pool(tmp_path / "pool").photos().filter(pl.col("class_name") == "zebra")
    assert sorted(photos["key"]) == [f"inaturalist:{number}" for number in range(938, 944)]
    assert set(photos["licence"]) == {"cc-by"}
    assert photos["cluster"].str.starts_with("observer:login").all()
    assert server.asked_below("/v1") == 0


def test_it_goes_on_from_what_was_listed(server, options, tmp_path):
    collect(tmp_path / "pool", ["zebra"], options(per_class=3))
    collect(tmp_path / "pool", ["zebra"], options(per_class=30))
    (one,) = collect(tmp_path / "pool", ["zebra"], options(per_class=50)).classes
    assert (one.present, one.added, one.missing, one.exhausted) == (30, 10, 10, True)
    assert set(server.gets_by_photo().values()) == {1}
    candidates = open_pool(tmp_path / "pool").candidates("zebra")
    assert candidates["position"].to_list() == list(range(40))
    assert candidates["key"].is_sorted(descending=True)


def test_names_and_numbers_of_the_dump(options, tmp_path):
    classes = [WantedClass("mine", "equus QUAGGA"), WantedClass("other", "12"), WantedClass("agama")]
    report = collect(tmp_path / "pool", classes, options(per_class=1))
    assert [one.taxa for one in report.classes] == [("Equus quagga",), ("Equus grevyi",), ("Agama",)]
    with pytest.raises(UnclearClasses, match="No taxon is called 'Struthio massaicus'"):
        collect(tmp_path / "pool", [WantedClass("x", "Struthio massaicus")], options())
    with pytest.raises(UnclearClasses, match="means 2 taxa"):
        collect(tmp_path / "pool", [WantedClass("y", "Agama")], options())


def test_a_dry_run_of_the_dump(server, options, tmp_path):
    (zebra,) = plan_collection(tmp_path / "pool", ["zebra"], options(per_class=7)).classes
    assert (zebra.to_fetch, zebra.bytes > 0) == (7, True)
    assert server.asked_below("/photos") == 0
    assert not (tmp_path / "pool").exists()


def test_a_dry_run_counts_the_photos_of_the_dump_that_the_pool_lacks(options, tmp_path):
    collect(tmp_path / "pool", ["ostrich"], options(per_class=2))
    more = {"per_class": 90, "per_observation": 2, "add": True}
    plan = plan_collection(tmp_path / "pool", ["zebra", "ostrich"], options(**more))
    assert [(one.available, one.to_fetch) for one in plan.classes] == [(40, 40), (5, 3)]
    report = collect(tmp_path / "pool", ["zebra", "ostrich"], options(**more))
    assert [one.added for one in report.classes] == [40, 3]
