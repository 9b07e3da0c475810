"""The open-data dump: what is listed equals an independent computation; what is wrong is one clear line."""

from __future__ import annotations

import gzip
import uuid
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from open_data_dump import write_dump, write_table

# The rows themselves: a collection would fetch every photo of theirs.
from counterground.construction.collection._open_data import MEDIA_URL, list_open_data
from counterground.construction.pool import CANDIDATE_SCHEMA, open_pool
from counterground.errors import CounterGroundError, UsageError

TAXA = [
    ("1", "48460", "70", "kingdom", "Animalia", "true"),
    ("47126", "48460", "70", "kingdom", "Plantae", "true"),
    ("3", "48460/1", "50", "class", "Aves", "true"),
    ("40", "48460/1/3", "20", "genus", "Pica", "true"),
    ("41", "48460/1/3/40", "10", "species", "Pica pica", "true"),
    ("42", "48460/1/3/40", "10", "species", "Pica hudsonia", "true"),
    ("43", "48460/1/3/40/41", "5", "subspecies", "Pica pica melanotos", "true"),
    ("400", "48460/1/3", "20", "genus", "Cygnus", "true"),
    ("401", "48460/1/3/400", "10", "species", "Cygnus atratus", "true"),
]
LICENCES = ["CC-BY-NC", "CC0", "CC-BY", "PD", "CC-BY-NC-SA"]
GRADES = ["research", "needs_id", "casual"]
DAYS = ["2019-05-01", "2021-01-31", "2024-12-24", ""]


@pytest.fixture(scope="module")
def tables():
    """3,000 photos of 1,200 observations, some photos in two observations."""
    rng = np.random.default_rng(7)
    ids = [str(uuid.UUID(bytes=rng.bytes(16))) for _ in range(1200)]
    taxa = [int(row[0]) for row in TAXA]
    observations = [
        (u, 1 + n % 50, 1.5, 2.5, 10, rng.choice(taxa), rng.choice(GRADES), rng.choice(DAYS))
        for n, u in enumerate(ids)
    ]
    owners = dict(zip(ids, (row[1] for row in observations), strict=True))
    photos = []
    for number in rng.permutation(2800):
        u = rng.choice(ids)
        row = (rng.choice(["jpg", "jpeg", "png"]), rng.choice(LICENCES), 2048, 1536, rng.integers(0, 4))
        shared_by = [u] if rng.random() < 0.93 else [u, rng.choice(ids)]
        photos += [
            (uuid.UUID(bytes=rng.bytes(16)), 5000 + number, owner, owners[u], *row) for owner in shared_by
        ]
    observers = [(n, f"login{n}", f'Na"me {n}' if n % 2 else "") for n in range(1, 51)]
    return {"taxa": TAXA, "observations": observations, "photos": photos, "observers": observers}


@pytest.fixture
def dump(tmp_path, tables) -> Path:
    return write_dump(tmp_path / "dump [1]*", tables)


def reference(tables, taxa, *, per_class, quality, licences, since, until, per_observation):
    """The same list, row by row in Python."""
    found = {}
    for class_name, wanted in taxa.items():
        ids = {wanted} if isinstance(wanted, int) else set(wanted)
        inside = {int(t[0]) for t in tables["taxa"] if ids & {int(t[0]), *map(int, t[1].split("/"))}}
        kept = {
            o[0]
            for o in tables["observations"]
            if o[5] in inside
            and quality in ("any", o[6])
            and (since is None or (o[7] and o[7] >= since))
            and (until is None or (o[7] and o[7] <= until))
        }
        rows = [p for p in tables["photos"] if p[2] in kept and (not licences or p[5].lower() in licences)]
        once = {}
        for p in sorted(rows, key=lambda p: (p[8], p[2])):
            once.setdefault(p[1], p)
        by_observation = {}
        for p in sorted(once.values(), key=lambda p: (p[8], -p[1])):
            by_observation.setdefault(p[2], []).append(p)
        chosen = [p for group in by_observation.values() for p in group[:per_observation]]
        found[class_name] = [p[1] for p in sorted(chosen, key=lambda p: -p[1])[:per_class]]
    return found


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"quality": "any", "per_observation": 3},
        {"quality": "needs_id", "per_class": 1000, "per_observation": 99},
        {"quality": "any", "licences": ["cc0", "pd"], "per_observation": 2},
        {"quality": "any", "since": "2021-01-31"},
        {"quality": "any", "since": "2020-01-01", "until": "2021-01-31", "per_class": 5},
    ],
)
def test_the_list_is_what_an_independent_computation_gives(dump, tables, asked):
    taxa = {"magpie": 40, "Eurasian magpie": 41, "swan or magpie": [401, 42], "bird": 3}
    options = {"per_class": 40, "quality": "research", "licences": None, "since": None, "until": None}
    options |= {"per_observation": 1} | asked
    frame = list_open_data(dump, taxa, **options)
    assert dict(frame.schema) == CANDIDATE_SCHEMA
    expected = reference(tables, taxa, **options)
    assert sum(map(len, expected.values())) > 10
    for name, photos in expected.items():
        rows = frame.filter(pl.col("class_name") == name)
        assert rows["key"].to_list() == [f"inaturalist:{number}" for number in photos]
        assert rows["position"].to_list() == list(range(len(photos)))
    assert len(frame) == sum(map(len, expected.values()))


def test_what_is_known_of_a_photo_comes_along(dump, tables):
    frame = list_open_data(dump, {"magpie": 40}, quality="any", per_class=9999, size="large")
    photos = {f"inaturalist:{p[1]}": p for p in tables["photos"]}
    days = {o[0]: o[7] for o in tables["observations"]}
    taxa = {int(t[0]): t[4] for t in tables["taxa"]}
    wordings = set()
    for row in frame.iter_rows(named=True):
        _, number, _, owner, extension, licence, *_ = photos[row["key"]]
        assert row["url"] == f"{MEDIA_URL}/photos/{number}/large.{extension}"
        assert row["licence"] == licence.lower()
        assert row["observer"] == f"login{owner}"
        assert row["observed_on"] == (days[row["observation"]] or None)
        assert row["source"] == f"https://www.inaturalist.org/observations/{row['observation']}"
        assert row["taxon"] == taxa[row["taxon_id"]]
        assert row["status"] == "wanted"
        name = f'Na"me {owner}' if owner % 2 else f"login{owner}"
        wordings.add(row["attribution"].replace(name, "NAME"))
    assert wordings == {
        "(c) NAME, some rights reserved (CC BY-NC)",
        "(c) NAME, some rights reserved (CC BY)",
        "(c) NAME, some rights reserved (CC BY-NC-SA)",
        "NAME, no rights reserved (CC0)",
        "NAME, public domain",
    }


def test_the_rows_are_candidates_a_pool_takes(dump, tmp_path):
    frame = list_open_data(dump, {"magpie": 40, "bird": 3}, per_class=10)
    pool = open_pool(tmp_path / "pool", create=True)
    assert pool.add_candidates(frame.to_dicts()) == 20
    assert pool.candidates().equals(frame)
    pool.close()


def test_plain_files_mirrors_more_columns_and_dates_are_read(tmp_path, dump, tables):
    plain = write_dump(tmp_path / "plain", tables, gz=False)
    scored = [(*row, "0.3") for row in tables["observations"]]
    write_table(plain, "observations", scored, more_columns="anomaly_score", gz=False)
    options = {"since": date(2021, 1, 31), "per_class": 30, "media_url": "http://127.0.0.1:8080/mirror/"}
    frame = list_open_data(plain, {"magpie": 40}, **options)
    assert frame.equals(list_open_data(dump, {"magpie": 40}, **options))
    assert frame["url"][0].startswith("http://127.0.0.1:8080/mirror/photos/")


def test_values_are_values_not_sql(dump):
    evil = "x'; DROP TABLE wanted; --"
    frame = list_open_data(
        dump, {evil: 40}, since="2000'; DROP TABLE member; --", licences=["cc0' OR '1'='1"]
    )
    assert frame.is_empty()
    named = list_open_data(dump, {evil: 40}, per_class=3)
    assert set(named["class_name"]) == {evil}


def test_an_observer_the_dump_has_not_is_credited_by_number(dump, tables):
    write_table(dump, "observers", tables["observers"][:10])
    frame = list_open_data(dump, {"bird": 3}, quality="any", per_class=9999)
    strangers = frame.filter(pl.col("observer").str.contains(r"^\d+$"))
    assert len(strangers)
    assert strangers["attribution"].str.contains(r"(\(c\) )?\d+, ").all()


def test_an_observer_who_is_unknown_is_nobody(dump, tables):
    photos = [(*row[:3], "", *row[4:]) for row in tables["photos"]]
    write_table(dump, "photos", photos)
    frame = list_open_data(dump, {"bird": 3}, quality="any", per_class=9999)
    assert len(frame)
    assert frame["observer"].is_null().all()
    assert frame["attribution"].is_null().all()


def test_an_observer_or_a_photo_that_is_listed_oddly_multiplies_nothing(dump, tables):
    before = list_open_data(dump, {"bird": 3}, quality="any", per_class=9999)
    write_table(dump, "observers", [*tables["observers"], *tables["observers"]])
    write_table(dump, "photos", [*tables["photos"], *((row[0], "", *row[2:]) for row in tables["photos"])])
    assert list_open_data(dump, {"bird": 3}, quality="any", per_class=9999).equals(before)


def test_a_class_without_photos_has_no_rows(dump):
    assert list_open_data(dump, {"plants": 47126, "magpie": 43}, licences=["gfdl"]).is_empty()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"quality": "reserch"}, "Unknown quality grade 'reserch': choose from research, needs_id,"),
        ({"size": "huge"}, "Unknown size 'huge'"),
        ({"taxa": {"yeti": 99}}, "The dump has no taxon 99 (class 'yeti')"),
    ],
)
def test_values_that_cannot_be_are_refused(dump, options, message):
    with pytest.raises(UsageError) as error:
        list_open_data(dump, **({"taxa": {"magpie": 40}} | options))
    assert message in str(error.value)


def test_a_folder_without_the_files_is_an_error(tmp_path, dump):
    with pytest.raises(UsageError, match="There is no folder"):
        list_open_data(tmp_path / "nowhere", {"magpie": 40})
    (dump / "observers.csv.gz").unlink()
    with pytest.raises(UsageError, match=r"has no observers.csv.gz"):
        list_open_data(dump, {"magpie": 40})


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def no_gzip(data: bytes) -> bytes:
    return gzip.decompress(data)


def edited(old: str, new: str):
    return lambda data: gzip.compress(gzip.decompress(data).decode().replace(old, new, 1).encode())


def nothing(_: bytes) -> bytes:
    return b""


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        ("photos", cut, "Unexpected end of GZIP stream"),
        ("observations", cut, "Unexpected end of GZIP stream"),
        ("observers", cut, "Unexpected end of GZIP stream"),
        ("photos", nothing, "has no column 'photo_id'; it has none"),
        ("photos", no_gzip, "cannot be read"),
        ("photos", edited("license", "licence"), "has no column 'license'"),
        ("taxa", edited("taxon_id\tancestry", "id\tancestry"), "has no column 'taxon_id'"),
        ("photos", edited("\t2048\t", "\t2048\t1\t"), "Expected Number of Columns: 9 Found: 10"),
        ("photos", edited("\t2048\t1536\t", "\t2048\t"), "Expected Number of Columns: 9 Found: 8"),
        ("observations", edited("\t40\t", "\tforty\t"), "damaged"),
        ("photos", edited("width", "height"), "a column twice"),
        ("photos", lambda _: gzip.compress(bytes(2**20)), "has no column"),
    ],
)
def test_damaged_files_are_one_line_that_names_the_file(dump, table, change, message):
    file = dump / f"{table}.csv.gz"
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(CounterGroundError) as error:
        list_open_data(dump, {"bird": 3}, quality="any")
    assert message in str(error.value)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)


def test_an_extension_that_would_leave_its_place_is_refused(dump, tables):
    rows = [(*row[:4], "jpg/../../x", *row[5:]) for row in tables["photos"]]
    write_table(dump, "photos", rows)
    with pytest.raises(CounterGroundError, match=r"has the extension 'jpg/\.\./\.\./x'"):
        list_open_data(dump, {"bird": 3}, quality="any")


def test_nothing_is_left_behind(dump, tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    before = sorted(dump.iterdir())
    list_open_data(dump, {"bird": 3})
    assert list(temporary.iterdir()) == []
    assert sorted(dump.iterdir()) == before
