"""Published data sets: each is read from a copy in its published layout, and every flaw of a copy is said."""

from __future__ import annotations

import csv
import io
import json
import os
import pickle
import shutil
import sqlite3
import struct
import tarfile
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from counterground.benchmarks import get_benchmark, list_benchmarks, open_benchmark

# How a class of ImageNet-9 is made of ImageNet's is part of its file.
from counterground.benchmarks.layouts import LAYOUTS
from counterground.cli import main
from counterground.errors import CounterGroundError, UsageError
from counterground.files import cache_dir
from counterground.metrics import score_predictions
from counterground.photos import imagenet_wnids, mask_place


class Writer:
    """Writes photos with the pixels of one per kind, so that thousands cost little; no two are equal."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._kinds: dict[str, bytes] = {}

    def photo(self, path: str, kind: str = "") -> None:
        target = self.root / path
        if not target.parent.is_dir():
            target.parent.mkdir(parents=True)
        kind = kind or str(target.parent)
        if kind not in self._kinds:
            png = io.BytesIO()
            Image.effect_noise((8, 8), 60).convert("RGB").save(png, "PNG")
            self._kinds[kind] = png.getvalue()
        target.write_bytes(self._kinds[kind] + path.encode())

    def photos(self, folder: str, number: int, suffix: str = ".jpg") -> None:
        for index in range(number):
            self.photo(f"{folder}/{index:05d}{suffix}")


WATERBIRDS = {"0": (3498, 184, 56, 1057), "1": (467, 466, 133, 133), "2": (2255, 2255, 642, 642)}
FEW = {"0": (2, 2, 2, 2), "1": (3, 3, 3, 3), "2": (4, 4, 4, 4)}


def waterbirds(
    root: Path, sizes=WATERBIRDS, *, without: str = "", spoil: Callable[[list], None] = lambda rows: None
) -> None:
    header = ("img_id", "img_filename", "y", "split", "place", "place_filename")
    rows = []
    for split, counts in sizes.items():
        for (bird, place), count in zip(product("01", "01"), counts, strict=True):
            for _ in range(count):
                name = f"{len(rows) // 50:03d}.Bird/Bird_{len(rows)}.jpg"
                rows.append([str(len(rows)), name, bird, split, place, f"/o/ocean/{len(rows) % 700}.jpg"])
    write = Writer(root)
    for row in rows:
        if row[3] != "0":
            write.photo(row[1], kind=f"{row[2]} {row[4]}")
    spoil(rows)
    with (root / "metadata.csv").open("w", newline="") as file:
        kept = [index for index, name in enumerate(header) if name != without]
        csv.writer(file).writerows([[row[index] for index in kept] for row in (header, *rows)])


VARIANTS = (
    "original",
    "mixed_same",
    "mixed_rand",
    "mixed_next",
    "only_fg",
    "no_fg",
    "only_bg_b",
    "only_bg_t",
)
NINE = (
    "dog",
    "bird",
    "wheeled vehicle",
    "reptile",
    "carnivore",
    "insect",
    "musical instrument",
    "primate",
    "fish",
)


def imagenet9(root: Path, variants=VARIANTS) -> None:
    write = Writer(root)
    for variant, (number, name) in product(variants, enumerate(NINE)):
        for index in range(3):
            photo = f"n0{number}000000_{index}"
            mixed = f"fg_{photo}_bg_n09999999_{index}" if variant.startswith("mixed") else photo
            write.photo(f"{variant}/val/{number:02d}_{name}/{mixed}.JPEG")


METASHIFT = {"val_out_of_domain": {"usual": 144, "other": 144}, "train": {"usual": 750, "other": 100}}


def metashift(root: Path, groups: dict | None = None, share: int = 1) -> None:
    write, found = Writer(root), {}
    for split, (animal, usual) in product(METASHIFT, (("cat", "indoor"), ("dog", "outdoor"))):
        for kind, count in METASHIFT[split].items():
            place = usual if kind == "usual" else {"indoor": "outdoor", "outdoor": "indoor"}[usual]
            for _ in range(count // share):
                found[str(len(found))] = [f"{animal}({place})"]
                write.photo(f"{split}/{animal}/{len(found) - 1}.jpg", kind=f"{animal} {place}")
    with (root / "imageID_to_group.pkl").open("wb") as file:
        pickle.dump(found if groups is None else groups, file)


def nico(root: Path) -> None:
    write = Writer(root)
    (known,) = (info for info in LAYOUTS if info.name == "nico++")
    for context, name in product(
        ("autumn", "dim", "grass", "outdoor", "rock", "water"), known_classes(known)
    ):
        write.photos(f"{context}/{name}", 2)


def known_classes(info) -> tuple[str, ...]:
    return tuple(info.get.__self__.classes)


FOCUS_ROWS = (
    # file, category, time, weather, locations; how many of them are uncommon
    ("/car-street/0.jpeg", "car", "day", "sunny", "street", 0),
    ("/car-rain/0.jpeg", "car", "night", "raining", "snow, street", 3),
    ("/frog-night/0.jpeg", "frog", "night", "none", "none", 0),
    ("/ship-forest/0.jpeg", "ship", "day", "partly cloudy", "forest, water", 1),
    ("/bird-fog/0.jpeg", "bird", "none", "foggy", "grass", 1),
)


def focus(root: Path, rows=FOCUS_ROWS, table: str = "annotations") -> None:
    write = Writer(root)
    others = ("truck", "plane", "cat", "dog", "horse", "deer")
    rows = [*rows, *((f"/{name}-day/0.jpeg", name, "day", "sunny", "none", 0) for name in others)]
    for file, *_ in rows:
        write.photo(file.lstrip("/"))
    with sqlite3.connect(root / "annotations.db") as database:
        database.execute(
            f"CREATE TABLE {table} (file_name TEXT PRIMARY KEY, category TEXT, time TEXT, weather TEXT, "
            "locations TEXT, humans TEXT)"
        )
        database.executemany(f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?, 'no')", [row[:5] for row in rows])
    database.close()


def urbancars(root: Path, number: int = 125) -> None:
    write = Writer(root)
    for split, (own, bg, co) in product(("val", "test"), product(("urban", "country"), repeat=3)):
        folder = f"bg-0.5_co_occur_obj-0.5/{split}/obj-{own}_bg-{bg}_co_occur_obj-{co}"
        for index in range(number):
            for suffix in (".jpg", "_mask.png", "_co_occur_obj_mask.png"):
                write.photo(f"{folder}/{index:03d}{suffix}")


PLACES = ("snow", "jungle", "desert", "dirt", "mountain", "beach")


def spawrious(root: Path, dogs=("bulldog", "corgi", "dachshund", "labrador")) -> None:
    write = Writer(root)
    for environment, place, dog in product("01", PLACES, dogs):
        write.photos(f"{environment}/{place}/{dog}", 5, ".png")
    write.photos("domain_adaptation_ds/snow/corgi", 1)


HARD = (
    "n03218198",
    "n02492660",
    "n04162706",
    "n04228054",
    "n04356056",
    "n02807133",
    "n02777292",
    "n03535780",
)
HARD += ("n03899768", "n04019541", "n03770439", "n04264628", "n04540053", "n09835506", "n04251144")


def hard_imagenet(root: Path, number: int = 2, side: int = 8) -> None:
    write = Writer(root / "hardImageNet")
    mask = Image.new("L", (side, 8))
    mask.paste(1, (2, 2, 5, 6))
    for wnid, index in product(HARD, range(number)):
        name = f"ILSVRC2012_val_{HARD.index(wnid):04d}{index:04d}.JPEG"
        write.photo(f"../HardImageNet_Images/val/{wnid}/{name}", kind=name)
        (root / "hardImageNet" / "val").mkdir(exist_ok=True, parents=True)
        mask.save(root / "hardImageNet" / "val" / f"{wnid}_{name}", "PNG")
    (root / "hardImageNet" / "meta").mkdir()


def note(text: str) -> PngInfo:
    """Make a file differ from others with the same pixels."""
    info = PngInfo()
    info.add_text("note", text)
    return info


def objectnet(root: Path, classes=("banana", "alarm_clock", "air_freshener")) -> None:
    framed = Image.new("RGB", (9, 10), (255, 0, 0))
    framed.paste((10, 200, 30), (2, 2, 7, 8))
    for name, index in product(classes, range(2)):
        (root / "images" / name).mkdir(parents=True, exist_ok=True)
        framed.save(root / "images" / name / f"{index}.png", pnginfo=note(f"{name} {index}"))
    mappings = {
        "folder_to_objectnet_label.json": {name: name.replace("_", " ").capitalize() for name in classes},
        "objectnet_to_imagenet_1k.json": {"Banana": "banana", "Alarm clock": "analog clock; digital clock"},
        "pytorch_to_imagenet_2012_id.json": {"409": 0, "530": 1, "954": 2},
    }
    (root / "mappings").mkdir()
    for name, content in mappings.items():
        (root / "mappings" / name).write_text(json.dumps(content))
    (root / "mappings" / "imagenet_to_label_2012_v2").write_text("analog clock\ndigital clock\nbanana\n")


def spuco_animals(root: Path, number: int = 500) -> None:
    write = Writer(root)
    for part, classes, places in (
        ("spuco_birds", ("landbirds", "waterbirds"), ("land", "water")),
        ("spuco_dogs", ("small_dogs", "big_dogs"), ("indoor", "outdoor")),
    ):
        for name, place in product(classes, places):
            write.photos(f"{part}/test/{name}/{place}", number)


COPIES = {
    "waterbirds": waterbirds,
    "imagenet9": imagenet9,
    "metashift": metashift,
    "nico++": nico,
    "focus": focus,
    "urbancars": urbancars,
    "spawrious": spawrious,
    "hard-imagenet": hard_imagenet,
    "objectnet": objectnet,
    "spuco-animals": spuco_animals,
}


SMALL = {
    "waterbirds": {"sizes": FEW},
    "metashift": {"share": 10},
    "urbancars": {"number": 1},
    "spuco-animals": {"number": 1},
}


def counts(benchmark) -> dict[tuple, int]:
    """Photos of each cell of the design."""
    return {
        tuple(row[:-1]): row[-1]
        for row in benchmark.photos.group_by(benchmark.design.cells).len().iter_rows()
    }


def got(tmp_path: Path, name: str, **how):
    COPIES[name.partition("?")[0]](tmp_path / "copy", **how)
    return get_benchmark(name, archive=tmp_path / "copy")


def only(benchmark, **values) -> pl.DataFrame:
    return benchmark.photos.filter(**values)


def test_all_that_the_docs_promise_is_built_in():
    assert {info.name for info in LAYOUTS} == {*COPIES, "counteranimal"}
    assert len(list_benchmarks()) == 13
    for info in LAYOUTS:
        assert info.licence
        assert info.homepage.startswith("https://")


@pytest.mark.parametrize("name", COPIES)
def test_one_command_reads_a_copy_and_the_name_opens_it(tmp_path, capsys, name):
    COPIES[name](tmp_path / "some mirror" / "data", **SMALL.get(name, {}))
    assert main(["benchmarks", "get", name, "--from", str(tmp_path / "some mirror")]) == 0
    capsys.readouterr()
    benchmark = open_benchmark(name)
    assert benchmark.name == name
    benchmark.design.check(benchmark.photos)
    assert next(info for info in list_benchmarks() if info.name == name).is_ready()
    assert main(["benchmarks", "get", name]) == 0
    assert f"{name}: {len(benchmark):,} photos" in capsys.readouterr().out
    assert benchmark.photos["licence"].null_count() == 0


@pytest.mark.parametrize("name", COPIES)
def test_something_else_is_refused_in_one_line(tmp_path, name):
    Writer(tmp_path / "copy").photos("holidays/2019", 2)
    with pytest.raises(
        CounterGroundError, match=rf"holds no .*: is it {name.replace('+', '.')} as published"
    ) as caught:
        get_benchmark(name, archive=tmp_path / "copy")
    assert "\n" not in str(caught.value)


def first(copy: Path, pattern: str) -> Path:
    return min(copy.rglob(pattern))


def recode(rows: list) -> None:
    rows[-1][4] = "2"


def another_place(copy: Path) -> None:
    path = copy / "imageID_to_group.pkl"
    path.write_bytes(pickle.dumps(pickle.loads(path.read_bytes()) | {"0": ["cat(bed)"]}))


def remap(name: str, content: object) -> Callable[[Path], object]:
    return lambda copy: (copy / name).write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("name", "how", "spoil", "culprit"),
    [
        ("waterbirds", {}, lambda copy: first(copy, "Bird_30.jpg").unlink(), r"Bird_30\.jpg"),
        ("waterbirds", {"without": "split"}, None, r"metadata\.csv .*split"),
        ("waterbirds", {"spoil": recode}, None, r"metadata\.csv .*place"),
        ("imagenet9", {}, lambda copy: shutil.rmtree(first(copy, "08_fish")), "'mixed_next/val/08_fish'"),
        ("imagenet9", {}, remap("in_to_in9.json", {"0": 9}), r"in_to_in9\.json"),
        ("metashift", {}, another_place, r"cat/0\.jpg .*'bed'"),
        (
            "focus",
            {"rows": [("/cow/0.jpeg", "cow", "day", "sunny", "grass", 0)]},
            None,
            r"annotations\.db .*'/cow/",
        ),
        (
            "hard-imagenet",
            {},
            lambda copy: first(copy / "hardImageNet/val", "*").write_bytes(too_large()),
            "val/n0",
        ),
        (
            "objectnet",
            {},
            lambda copy: Image.new("RGB", (4, 4)).save(copy / "images/banana/0.png"),
            r"banana/0\.png",
        ),
    ],
)
def test_a_flawed_copy_is_refused_and_the_flaw_named(tmp_path, name, how, spoil, culprit):
    COPIES[name](tmp_path / "copy", **SMALL.get(name, {}) | how)
    if spoil:
        spoil(tmp_path / "copy")
    with pytest.raises(CounterGroundError, match=culprit) as caught:
        get_benchmark(name, archive=tmp_path / "copy")
    assert "\n" not in str(caught.value)


BY_HAND = ("metashift", "nico++", "focus", "urbancars", "hard-imagenet", "objectnet")


@pytest.mark.parametrize("name", BY_HAND)
def test_what_no_program_can_download_says_where_to_get_it(name):
    with pytest.raises(
        CounterGroundError, match=r"cannot be downloaded by a program\. .* --from FOLDER"
    ) as caught:
        get_benchmark(name)
    assert "\n" not in str(caught.value)
    with pytest.raises(CounterGroundError, match=r"not on this machine yet; run .*--from"):
        open_benchmark(name)


class TestWaterbirds:
    def test_as_published(self, tmp_path):
        benchmark = got(tmp_path, "waterbirds")
        assert counts(benchmark) == {
            ("landbird", "land"): 2255,
            ("landbird", "water"): 2255,
            ("waterbird", "land"): 642,
            ("waterbird", "water"): 642,
        }
        assert benchmark.notes == ()
        assert benchmark.classes.names == ("landbird", "waterbird")
        assert only(benchmark, group="common").select("class_name", "background").unique().height == 2
        assert set(only(benchmark, class_name="waterbird", group="common")["background"]) == {"water"}
        assert benchmark.design.weights["training"]["waterbird", "land"] == 56
        assert benchmark.photos["cluster"].n_unique() == 700

    def test_another_split_needs_no_second_copy(self, tmp_path):
        got(tmp_path, "waterbirds", sizes=FEW)
        val = open_benchmark("waterbirds?split=val")
        assert (val.name, set(counts(val).values())) == ("waterbirds?split=val", {3})
        assert open_benchmark("waterbirds").name == "waterbirds"

    def test_options_that_it_does_not_have(self):
        with pytest.raises(UsageError, match=r"no option 'splitt'; it has split\. Did you mean 'split'"):
            open_benchmark("waterbirds?splitt=val")
        with pytest.raises(UsageError, match=r"stamps has no option 'split'; it has none"):
            open_benchmark("stamps?split=val")

    def test_a_new_copy_takes_the_place_of_the_old_one_in_all_splits(self, tmp_path):
        got(tmp_path, "waterbirds", sizes=FEW)
        open_benchmark("waterbirds?split=val")
        waterbirds(tmp_path / "other" / "copy", FEW, spoil=lambda rows: rows.pop(8))
        get_benchmark("waterbirds", archive=tmp_path / "other")
        (note,) = open_benchmark("waterbirds?split=val").notes
        assert "landbird, land: 2 instead of 467" in note


class TestImageNet9:
    def test_variants_are_compared_on_the_same_foreground(self, tmp_path):
        benchmark = got(tmp_path, "imagenet9")
        assert counts(benchmark) == dict.fromkeys(product(NINE, VARIANTS), 3)
        assert [str(each) for each in benchmark.design.contrasts] == [
            "bg_gap: variant=mixed_same - variant=mixed_rand"
        ]
        assert benchmark.photos["cluster"].value_counts()["count"].unique().to_list() == [8]

    def test_members_by_wordnet_are_as_many_as_the_paper_has_but_for_two_vehicles(self, tmp_path):
        benchmark = got(tmp_path, "imagenet9")
        sizes = [len(members) for members in benchmark.classes.members]
        assert sizes == [116, 52, 44, 36, 35, 27, 26, 20, 16]
        assert any("not verified for wheeled vehicles" in note for note in benchmark.notes)

    def test_the_authors_mapping_counts_where_it_is(self, tmp_path):
        imagenet9(tmp_path / "copy")
        nine = dict.fromkeys(range(1000), 0) | {index: number for number, index in enumerate(range(9))}
        mapping = {str(index): number if index < 20 else -1 for index, number in nine.items()}
        (tmp_path / "copy" / "in_to_in9.json").write_text(json.dumps(mapping))
        benchmark = get_benchmark("imagenet9", archive=tmp_path / "copy")
        assert benchmark.classes.members == ((0, *range(9, 20)), *((index,) for index in range(1, 9)))
        assert not any("verified" in note for note in benchmark.notes)


class TestMetaShift:
    @pytest.mark.parametrize(
        ("name", "usual", "other"), [("metashift", 144, 144), ("metashift?split=train", 750, 100)]
    )
    def test_as_the_script_writes_it(self, tmp_path, name, usual, other):
        benchmark = got(tmp_path, name)
        assert counts(benchmark) == {
            ("cat", "indoor"): usual,
            ("cat", "outdoor"): other,
            ("dog", "indoor"): other,
            ("dog", "outdoor"): usual,
        }
        assert benchmark.notes == ()
        assert set(only(benchmark, class_name="dog", group="counter")["background"]) == {"indoor"}

    def test_a_pickle_that_would_run_something_is_refused(self, tmp_path):
        ran = tmp_path / "ran"

        class Hostile:
            def __reduce__(self):
                return Path.touch, (ran,)

        metashift(tmp_path / "copy")
        with (tmp_path / "copy" / "imageID_to_group.pkl").open("wb") as file:
            pickle.dump({"0": [Hostile()]}, file)
        with pytest.raises(
            CounterGroundError, match=r"imageID_to_group\.pkl: it holds .*, and should hold only texts"
        ):
            get_benchmark("metashift", archive=tmp_path / "copy")
        assert not ran.exists()

    @pytest.mark.parametrize(
        "data",
        [
            b"\x80\x05\x96" + b"\xff" * 8 + b".",  # a byte array of more bytes than there are
            b"\x80\x05\x8e" + (2**61).to_bytes(8, "little") + b".",
            b"\x80\x05\x94j\xff\xff\xff\xff.",
            b"",
        ],
    )
    def test_a_damaged_pickle_is_one_line(self, tmp_path, data):
        metashift(tmp_path / "copy", share=10)
        (tmp_path / "copy" / "imageID_to_group.pkl").write_bytes(data)
        with pytest.raises(CounterGroundError, match=r"Cannot read .*imageID_to_group\.pkl: \S"):
            get_benchmark("metashift", archive=tmp_path / "copy")

    def test_a_few_bytes_of_a_pickle_allocate_no_gigabytes(self, tmp_path):
        metashift(tmp_path / "copy", share=10)
        path = tmp_path / "copy" / "imageID_to_group.pkl"
        remember = pickle.EMPTY_LIST + pickle.LONG_BINPUT + (2**25).to_bytes(4, "little") + pickle.POP
        path.write_bytes(remember + path.read_bytes()[2:])  # its first two bytes name the protocol
        tracemalloc.start()
        try:
            get_benchmark("metashift", archive=tmp_path / "copy")
            path.write_bytes(pickle.BYTEARRAY8 + (2**29).to_bytes(8, "little"))
            with pytest.raises(CounterGroundError, match=r"imageID_to_group\.pkl: it is damaged"):
                get_benchmark("metashift", archive=tmp_path / "copy")
            assert tracemalloc.get_traced_memory()[1] < 2**28
        finally:
            tracemalloc.stop()


class TestNico:
    def test_each_context_is_compared_with_all(self, tmp_path):
        benchmark = got(tmp_path, "nico++")
        assert (len(benchmark), len(benchmark.classes), benchmark.photos["background"].n_unique()) == (
            720,
            60,
            6,
        )
        assert benchmark.notes == ("This copy has 720 photos; 88,866 were published.",)
        assert {"fishing rod", "hot air balloon"} < set(benchmark.classes.names)
        assert str(benchmark.design.contrasts[0]) == "autumn: all - background=autumn"
        assert set(benchmark.classes.imagenet) == {None}


class TestFocus:
    def test_what_is_uncommon_for_each_class(self, tmp_path):
        benchmark = got(tmp_path, "focus")
        found = dict(benchmark.photos.select("path", "uncommon").iter_rows())
        assert {path: found[path.lstrip("/")] for path, *_ in FOCUS_ROWS} == {
            row[0]: str(row[5])
            for row in FOCUS_ROWS  # an attribute, as `scores --by uncommon` needs
        }
        car = only(benchmark, path="car-rain/0.jpeg").row(0, named=True)
        assert (car["group"], car["time_setting"], car["place_setting"]) == (
            "counter",
            "uncommon",
            "uncommon",
        )
        frog = only(benchmark, path="frog-night/0.jpeg").row(0, named=True)
        assert (frog["time_setting"], frog["weather_setting"], frog["place_setting"]) == (
            "common",
            None,
            None,
        )
        assert benchmark.classes.members[6] == (339, 340)
        assert len(benchmark.classes.members[5]) == 121

    def test_several_places_are_one_background_in_any_order_and_one_photo(self, tmp_path):
        rows = [*FOCUS_ROWS, ("/car-rain/1.jpeg", "car", "night", "raining", "street, snow", 3)]
        benchmark = got(tmp_path, "focus", rows=rows)
        cars = only(benchmark, class_name="car", uncommon="3")
        assert cars["path"].to_list() == ["car-rain/0.jpeg", "car-rain/1.jpeg"]
        assert cars["background"].to_list() == ["snow, street"] * 2
        assert len(benchmark) == len(rows) + 6


class TestUrbanCars:
    def test_as_the_script_writes_it(self, tmp_path):
        benchmark = got(tmp_path, "urbancars")
        assert counts(benchmark) == dict.fromkeys(benchmark.design.weights["training"], 125)
        assert benchmark.notes == ()
        shares = benchmark.design.weights["training"]
        assert shares["urban car", "common", "uncommon"] == pytest.approx(0.0475)
        row = only(benchmark, class_name="urban car", background="country", co_object="urban").row(
            0, named=True
        )
        assert (row["bg"], row["co"]) == ("uncommon", "common")
        assert (benchmark.root / row["mask"]).is_file()
        assert [each.name for each in benchmark.design.contrasts] == ["bg_gap", "co_gap", "both_gap"]


class TestSpawrious:
    @pytest.mark.parametrize(
        ("variant", "common", "counter", "both"),
        [
            ("o2o_easy", {"bulldog": {"desert"}}, {"bulldog": {"dirt"}}, 2),
            ("o2o_medium", {"labrador": {"dirt"}}, {"labrador": {"beach"}}, 2),
            ("o2o_hard", {"corgi": {"desert"}}, {"corgi": {"jungle"}}, 2),
            ("m2m_easy", {"dachshund": {"mountain", "desert"}}, {"dachshund": {"dirt", "jungle"}}, 1),
            ("m2m_medium", {"labrador": {"mountain", "desert"}}, {"labrador": {"beach", "snow"}}, 1),
            ("m2m_hard", {"corgi": {"beach", "snow"}}, {"corgi": {"dirt", "jungle"}}, 1),
        ],
    )
    def test_six_variants_of_one_copy(self, tmp_path, variant, common, counter, both):
        benchmark = got(tmp_path, f"spawrious?variant={variant}")
        for group, expected in (("common", common), ("counter", counter)):
            for dog, places in expected.items():
                assert set(only(benchmark, class_name=dog, group=group)["background"]) == places
        assert set(counts(benchmark).values()) == {5 * both}
        shares = benchmark.design.weights["training"]
        assert sum(shares.values()) == 4 * 2 * 3168

    def test_the_published_numbers(self):
        (info,) = (info for info in LAYOUTS if info.name == "spawrious")
        assert (info.n_photos, info.chosen("variant=m2m_easy").n_photos) == (12 * 6336, 16 * 3168)


class TestHardImageNet:
    def test_each_photo_with_its_object_and_without(self, tmp_path):
        benchmark = got(tmp_path, "hard-imagenet")
        assert set(counts(benchmark).values()) == {2}
        assert "This copy has 60 photos; 1,500 were published." in benchmark.notes
        wnids = [imagenet_wnids()[index] for index in benchmark.classes.imagenet]
        assert wnids == list(HARD)
        kept, removed = (only(benchmark, object=state)["path"][0] for state in ("kept", "removed"))
        photo, grey = (Image.open(benchmark.root / path).convert("RGB") for path in (kept, removed))
        assert grey.getpixel((2, 2)) == grey.getpixel((4, 5)) == (128, 128, 128)
        assert grey.getpixel((1, 2)) == photo.getpixel((1, 2))
        assert grey.getpixel((5, 5)) == photo.getpixel((5, 5))
        assert benchmark.photos["cluster"].n_unique() == 30
        masks = {mask_place(benchmark.mask_path(mask)).area for mask in benchmark.photos["mask"]}
        assert masks == {3 * 4 / 64}, "what is removed"

    def test_it_stays_when_the_copy_is_gone(self, tmp_path):
        hard_imagenet(tmp_path / "copy")
        first = get_benchmark("hard-imagenet", archive=tmp_path / "copy")
        (tmp_path / "copy").rename(tmp_path / "elsewhere")
        again = open_benchmark("hard-imagenet")
        assert again.version == first.version
        assert (again.root / again.photos["path"][0]).is_file()


class TestObjectNet:
    def test_the_red_border_is_cut_off_and_classes_are_those_of_the_mappings(self, tmp_path):
        benchmark = got(tmp_path, "objectnet")
        assert benchmark.classes.names == ("alarm clock", "banana")
        assert benchmark.classes.members == ((409, 530), (954,))
        photo = Image.open(benchmark.root / benchmark.photos["path"][0])
        assert (photo.size, photo.getcolors()) == ((5, 6), [(30, (10, 200, 30))])
        assert (
            "The mappings of this copy share 2 classes with ImageNet; 113 were published." in benchmark.notes
        )

    def test_no_photo_is_written_elsewhere(self, tmp_path):
        objectnet(tmp_path / "copy")
        (tmp_path / "copy" / "images" / "banana").rename(tmp_path / "outside")
        labels = {"../../outside": "Banana", "alarm_clock": "Alarm clock"}
        (tmp_path / "copy" / "mappings" / "folder_to_objectnet_label.json").write_text(json.dumps(labels))
        with pytest.raises(CounterGroundError, match=r"outside/0\.png' would be written outside"):
            get_benchmark("objectnet", archive=tmp_path / "copy")
        assert not list(cache_dir().rglob("outside"))


def too_large() -> bytes:
    """A PNG that states 60,000 x 60,000 pixels."""
    png = io.BytesIO()
    Image.new("L", (1, 1)).save(png, "PNG")
    head = b"IHDR" + struct.pack(">II", 60_000, 60_000) + png.getvalue()[24:29]
    return png.getvalue()[:12] + head + struct.pack(">I", zlib.crc32(head)) + png.getvalue()[33:]


class TestSpuCoAnimals:
    def test_as_published(self, tmp_path):
        benchmark = got(tmp_path, "spuco-animals")
        assert len(benchmark) == 4000
        assert set(counts(benchmark).values()) == {500}
        assert benchmark.notes == ()
        assert benchmark.classes.names == ("landbird", "waterbird", "small dog", "big dog")
        assert set(only(benchmark, class_name="big dog", group="common")["background"]) == {"outdoor"}
        assert benchmark.design.weights["training"]["small dog", "outdoor"] == 500

    def test_the_published_numbers_of_the_other_splits(self):
        (info,) = (info for info in LAYOUTS if info.name == "spuco-animals")
        assert (info.chosen("split=train").n_photos, info.chosen("split=val").n_photos) == (42000, 3150)

    def test_a_split_that_is_not_there(self, tmp_path):
        got(tmp_path, "spuco-animals", number=1)
        with pytest.raises(CounterGroundError, match=r"has no folder 'spuco_birds/val/landbirds/land'"):
            open_benchmark("spuco-animals?split=val")


def scored(benchmark) -> tuple[dict[str, float], pl.DataFrame]:
    """Scores of answers by lot, by metric where they are of all photos; and the answers."""
    rows = len(benchmark)
    answers = benchmark.photos.drop("mask", "licence", "attribution", "source").with_columns(
        correct=pl.Series(np.random.default_rng(0).random(rows) < np.linspace(0.2, 0.9, rows)),
        true_rank=pl.lit(0, pl.Int32),
        confidence=pl.lit(0.5, pl.Float32),
        top2_gap=pl.lit(0.1, pl.Float32),
        **{
            key: pl.lit("x")
            for key in ("model", "names", "prompts", "protocol", "answer_score", "label_space")
        },
    )
    scores = score_predictions(answers, by_class=False, design=benchmark.design).filter(
        pl.col("level").is_null()
    )
    return dict(scores.select("metric", "value").iter_rows()), answers


class TestConventions:
    """The scores of a design are those of its field, computed plainly."""

    def test_adjusted_average_and_worst_group_of_waterbirds(self, tmp_path):
        scores, answers = scored(got(tmp_path, "waterbirds"))
        groups = {
            (bird, place): answers.filter(class_name=bird, background=place)["correct"].mean()
            for bird, place in product(("landbird", "waterbird"), ("land", "water"))
        }
        training = dict(zip(groups, (3498, 184, 56, 1057), strict=True))
        adjusted = sum(training[group] * groups[group] for group in groups) / 4795
        assert scores["average(training)"] == pytest.approx(adjusted, abs=1e-12)
        assert scores["worst_group_accuracy"] == pytest.approx(min(groups.values()), abs=1e-12)
        assert scores["plain_accuracy"] == pytest.approx(answers["correct"].mean(), abs=1e-12)

    def test_gaps_of_urbancars(self, tmp_path):
        scores, answers = scored(got(tmp_path, "urbancars"))
        cells = {
            (own, bg, co): answers.filter(class_name=f"{own} car", background=bg, co_object=co)[
                "correct"
            ].mean()
            for own, bg, co in product(("urban", "country"), repeat=3)
        }

        def mean(bg_agrees: bool, co_agrees: bool) -> float:
            chosen = [
                value
                for (own, bg, co), value in cells.items()
                if (own == bg, own == co) == (bg_agrees, co_agrees)
            ]
            return sum(chosen) / len(chosen)

        share = {True: 0.95, False: 0.05}
        usual = sum(share[bg] * share[co] * mean(bg, co) for bg, co in product((True, False), repeat=2))
        assert scores["average(training)"] == pytest.approx(usual, abs=1e-12)
        assert scores["bg_gap"] == pytest.approx(usual - mean(False, True), abs=1e-12)
        assert scores["co_gap"] == pytest.approx(usual - mean(True, False), abs=1e-12)
        assert scores["both_gap"] == pytest.approx(usual - mean(False, False), abs=1e-12)

    def test_bg_gap_of_imagenet9(self, tmp_path):
        scores, answers = scored(got(tmp_path, "imagenet9"))
        same, rand = (answers.filter(variant=name)["correct"].mean() for name in ("mixed_same", "mixed_rand"))
        assert scores["bg_gap"] == pytest.approx(same - rand, abs=1e-12)
        assert same != rand


WATERBIRDS_LAYOUT = next(info for info in LAYOUTS if info.name == "waterbirds").get.__self__


def packed(data: Path, part: str = ".") -> bytes:
    """A tar of a folder; photos that are links to one file are files in it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path in sorted(path for path in (data / part).rglob("*") if path.is_file()):
            info = archive.gettarinfo(path, str(path.relative_to(data)))
            info.type, info.linkname, info.size = tarfile.REGTYPE, "", path.stat().st_size
            with path.open("rb") as file:
                archive.addfile(info, file)
    return buffer.getvalue()


class TestArchives:
    @pytest.mark.parametrize("given", ["pipe", "/dev/zero", "x" * 5000, "x\0y"])
    def test_what_is_neither_a_file_nor_a_folder(self, tmp_path, given):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(UsageError, match="does not exist, or is neither a file nor a folder"):
            get_benchmark("waterbirds", archive=tmp_path / given)
        with pytest.raises(UsageError, match="is not a built-in benchmark"):
            open_benchmark(tmp_path / given)

    def test_a_tar_of_a_mirror(self, tmp_path):
        metashift(tmp_path / "data" / "MetaShift", share=10)
        (tmp_path / "a.tar.gz").write_bytes(packed(tmp_path / "data"))
        first = get_benchmark("metashift", archive=tmp_path / "a.tar.gz")
        assert len(first) == 56
        (tmp_path / "a.tar.gz").unlink()
        assert len(open_benchmark("metashift?split=train")) == 170
        assert open_benchmark("metashift").version == first.version
        assert get_benchmark("metashift", archive=tmp_path / "data").version == first.version

    def test_a_download_is_unpacked_and_read(self, tmp_path, server):
        waterbirds(tmp_path / "data" / "waterbird_complete95", FEW)
        server.body = packed(tmp_path / "data")
        layout = replace(WATERBIRDS_LAYOUT, urls=(server.url,))
        benchmark = layout.get(None, False)
        assert len(benchmark) == 16
        assert not list((cache_dir() / "downloads").iterdir())
        server.shutdown()
        server.server_close()
        assert layout.get(None, False).version == benchmark.version
        assert open_benchmark("waterbirds").version == benchmark.version

    def test_two_archives_are_one_copy(self, tmp_path, server):
        spuco_animals(tmp_path / "data", 2)
        server.bodies = {
            f"/{part}": packed(tmp_path / "data", part) for part in ("spuco_birds", "spuco_dogs")
        }
        (info,) = (info for info in LAYOUTS if info.name == "spuco-animals")
        layout = replace(info.get.__self__, urls=tuple(f"{server.url}{path}" for path in server.bodies))
        assert len(layout.get(None, False)) == 16
