"""A table whose photos are behind URLs: fetched once, hashed, and never fewer than its rows."""

import hashlib
import json

import polars as pl
import pytest
from photo_server import photo_bytes, running
from PIL import Image

from counterground.errors import CounterGroundError, UsageError
from counterground.photos import UnreadablePhoto, load_photo, read_benchmark


@pytest.fixture
def server():
    with running() as state:
        yield state


@pytest.fixture
def table(tmp_path, server):
    def write(numbers=(0, 1, 2), **columns):
        urls = [number if isinstance(number, str) else server.address(number) for number in numbers]
        rows = {"url": urls, "class_name": ["hen", "tench"] * 5, "place": ["a"] * 10}
        rows = {name: values[: len(urls)] for name, values in rows.items()} | columns
        path = tmp_path / "urls.csv"
        pl.DataFrame(rows).write_csv(path)
        return path

    return write


def test_photos_are_fetched_once_and_hashed(table, server, cache):
    path = table()
    benchmark = read_benchmark(path)
    assert sorted(benchmark.photos["photo_id"]) == sorted(
        hashlib.sha256(photo_bytes(number)).hexdigest() for number in range(3)
    )
    assert benchmark.root == cache / "fetched"
    assert sorted(benchmark.photos["source"]) == [server.address(number) for number in range(3)]
    assert benchmark.name == "urls"
    assert all(
        load_photo(benchmark.photo_path(row)).image.size == (48, 40) for row in benchmark.photos["path"]
    )
    assert read_benchmark(path).version == benchmark.version
    assert server.asked.total() == 3


@pytest.mark.parametrize("absolute", [False, True])
def test_masks_of_photos_behind_urls_lie_where_the_table_does(absolute, table, tmp_path):
    (tmp_path / "masks").mkdir()
    masks = [tmp_path / "masks" / f"{number}.png" for number in range(3)]
    for number, mask in enumerate(masks):
        Image.new("L", (48, 40), 255 * (number % 2)).save(mask)
    written = [str(mask) if absolute else mask.relative_to(tmp_path).as_posix() for mask in masks]
    benchmark = read_benchmark(table(mask=written))
    assert sorted(map(benchmark.mask_path, benchmark.photos["mask"])) == masks
    assert not benchmark.photos["mask"].str.starts_with("/").any()


def test_a_dead_link_stays_a_row_with_its_reason_and_is_not_asked_for_again(table, server):
    server.script["/1.jpg"] = [404]
    path = table()
    benchmark = read_benchmark(path)
    assert len(benchmark) == 3
    assert benchmark.notes[0] == (
        f"1 of 3 photos could not be fetched and count as unreadable; the first is {server.address(1)}: "
        "not fetched: the server answered 404."
    )
    dead = benchmark.photos.filter(pl.col("source") == server.address(1))
    with pytest.raises(UnreadablePhoto) as caught:
        load_photo(benchmark.photo_path(dead["path"][0]), expect_id=dead["photo_id"][0])
    assert caught.value.reason == "not fetched: the server answered 404"
    assert read_benchmark(path).notes == benchmark.notes
    assert server.asked["/1.jpg"] == 1


def test_dead_links_are_no_copies_of_one_photo(tmp_path, server):
    """Copies share a cluster: clusters with a dead link each would become one."""
    server.script |= {f"/{number}.jpg": [404] for number in (1, 3)}
    rows = [(server.address(n), ("hen", "tench")[n % 2], f"observer {n // 2}") for n in range(4)]
    frame = pl.DataFrame(rows, schema=["url", "class_name", "cluster"], orient="row")
    frame.write_csv(tmp_path / "urls.csv")
    benchmark = read_benchmark(tmp_path / "urls.csv")
    assert sorted(benchmark.photos["cluster"]) == ["observer 0"] * 2 + ["observer 1"] * 2
    assert len(benchmark.notes) == 1, "only that two could not be fetched"
    assert server.asked["/1.jpg"] == server.asked["/3.jpg"] == 1


def test_what_may_come_later_is_asked_for_again_the_next_time(table, server, monkeypatch):
    from counterground.photos import _source  # with less patience

    quick = _source.DownloadSettings(tries=1, first_pause=0.01)
    monkeypatch.setattr(_source, "DownloadSettings", lambda: quick)
    server.script["/1.jpg"] = [500]
    path = table()
    first = read_benchmark(path)
    assert "500 (1 try); the next time it is asked for again" in first.notes[0]
    again = read_benchmark(path)
    assert not any("fetched" in note for note in again.notes)
    assert again.version != first.version


def test_offline_leaves_nothing_behind_that_hides_a_photo_later(table, server, cache, monkeypatch):
    elsewhere = [server.address(number).replace("127.0.0.1", "127.1") for number in range(3)]
    path = table([server.address(4), *elsewhere])
    monkeypatch.setenv("COUNTERGROUND_OFFLINE", "1")
    with pytest.raises(CounterGroundError, match=r"Fetching http://127\.1:\S+ needs the network") as caught:
        read_benchmark(path)
    assert "\n" not in str(caught.value)
    kept = {file.parent.name.partition("-")[0] for file in (cache / "fetched").rglob("*.jpg")}
    assert kept <= {"127.0.0.1"}
    monkeypatch.delenv("COUNTERGROUND_OFFLINE")
    benchmark = read_benchmark(path)
    assert [load_photo(benchmark.photo_path(row)).image.size for row in benchmark.photos["path"]] == [
        (48, 40)
    ] * 4


def test_a_page_in_place_of_a_photo_is_none(table, server):
    page = b"<html>please log in</html>"
    server.script["/2.jpg"] = [page, page]
    assert "not fetched: not an image" in read_benchmark(table()).notes[0]


def test_no_photo_at_all_is_an_error(table, server):
    server.script |= {f"/{number}.jpg": [404] for number in range(3)}
    with pytest.raises(
        CounterGroundError, match=r"urls\.csv: None of 3 photos could be fetched; http.*404\."
    ):
        read_benchmark(table())


def test_what_is_secret_in_a_url_is_in_no_output(table, server):
    server.script["/1.jpg?key=secret"] = [404]
    secret = server.address(1).replace("http://", "http://ann:pass@") + "?key=secret"
    benchmark = read_benchmark(table((0, secret)))
    assert "secret" not in str(benchmark.photos.rows()) + str(benchmark.notes)
    assert "pass@" not in str(benchmark.photos.rows()) + str(benchmark.notes)


def test_a_row_that_cannot_be_fetched_is_named(table, server):
    with pytest.raises(CounterGroundError, match=r"urls\.csv: Row 2: 'ftp://host/1.jpg' is neither"):
        read_benchmark(table((0, "ftp://host/1.jpg", 2)))
    assert server.asked.total() == 0


def test_numbers_get_the_names_of_a_file(table, tmp_path):
    (tmp_path / "names.txt").write_text("annual crop\nforest\n")
    path = table(kind=[1, 0, 1])
    benchmark = read_benchmark(f"{path}?label=kind&names={tmp_path}/names.txt")
    assert benchmark.classes.names == ("annual crop", "forest")
    assert benchmark.photos["class_name"].value_counts().sort("class_name")["count"].to_list() == [1, 2]
    with pytest.raises(CounterGroundError, match=r"Row 2 has the class '7', and .*names\.txt has 2 names"):
        read_benchmark(f"{table(kind=[1, 7, 1])}?label=kind&names={tmp_path}/names.txt")
    (tmp_path / "same.txt").write_text("crop\nforest\ncrop\n")
    with pytest.raises(CounterGroundError, match=r"The classes 0 and 2 are both called 'crop'"):
        read_benchmark(f"{table(kind=[1, 0, 2])}?label=kind&names={tmp_path}/same.txt")
    assert len(read_benchmark(f"{table(kind=[1, 2, 2])}?label=kind&names={tmp_path}/same.txt")) == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("imgae=url", "unknown setting 'imgae'; known are image, .* Did you mean 'image'"),
        ("label=place&label=place", "'label' is given twice"),
    ],
)
def test_wrong_settings_are_named(table, settings, message):
    with pytest.raises(CounterGroundError, match=message):
        read_benchmark(f"{table()}?{settings}")


def test_a_folder_takes_no_settings_and_a_name_with_a_question_mark_is_a_name(tmp_path, photo_folder):
    with pytest.raises(UsageError, match="takes no settings"):
        read_benchmark(f"{photo_folder}?label=x")
    odd = tmp_path / "what?label=x"
    photo_folder.rename(odd)
    assert read_benchmark(str(odd)).name == "what?label=x"


@pytest.fixture
def photo_folder(tmp_path):
    folder = tmp_path / "photos"
    for number, name in enumerate(("hen", "tench")):
        (folder / name).mkdir(parents=True)
        (folder / name / "0.jpg").write_bytes(photo_bytes(number))
    return folder


@pytest.fixture
def coco(tmp_path):
    """Write annotations as COCO's are: ``annotations/instances_val.json`` beside ``val/``."""
    (tmp_path / "val").mkdir()
    (tmp_path / "annotations").mkdir()
    for number in range(4):
        (tmp_path / "val" / f"{number}.jpg").write_bytes(photo_bytes(number))

    def write(**changes):
        content = {
            "images": [
                {
                    "id": 10 + n,
                    "file_name": f"{n}.jpg",
                    "width": 48,
                    "height": 40,
                    "license": 1,
                    "place": "sea",
                }
                for n in range(4)
            ],
            "categories": [{"id": 1, "name": "hen"}, {"id": 7, "name": "tench"}],
            "licenses": [{"id": 1, "name": "CC BY", "url": "http://creativecommons.org/licenses/by/2.0/"}],
            "annotations": [
                {"id": 1, "image_id": 10, "category_id": 1, "bbox": [24, 20, 24, 20], "area": 240.0},
                {"id": 2, "image_id": 10, "category_id": 1, "bbox": [0, 0, 4, 4], "area": 10.0},
                {"id": 3, "image_id": 11, "category_id": 7, "bbox": [0, 0, 48, 40]},
                {"id": 4, "image_id": 12, "category_id": 7, "bbox": [0, 0, 10, 10], "area": 100.0},
                {"id": 5, "image_id": 12, "category_id": 1, "bbox": [9, 9, 20, 20], "area": 400.0},
            ],
        }
        path = tmp_path / "annotations" / "instances_val.json"
        path.write_text(json.dumps(content | changes))
        return path

    return write


def test_coco_photos_of_one_category_are_the_benchmark_and_the_others_are_counted(coco, tmp_path):
    benchmark = read_benchmark(coco())
    assert benchmark.photos.select("path", "class_name", "licence").rows() == [
        ("0.jpg", "hen", "http://creativecommons.org/licenses/by/2.0/"),
        ("1.jpg", "tench", "http://creativecommons.org/licenses/by/2.0/"),
    ]
    assert benchmark.root == tmp_path / "val"
    assert "1 photo of several categories left out of 4 photos." in benchmark.notes
    assert "1 photo without an annotation left out of 4 photos." in benchmark.notes


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        ([(1, [0, 0, 10, 10], {}), (7, [0, 0, 48, 30], {"iscrowd": 1})], "hen"),  # a crowd
        ([(1, None, {"area": 0}), (7, [40, 30, 900, 900], {})], "tench"),
    ],
)
def test_the_largest_of_several_objects_gives_the_class(coco, objects, expected):
    annotations = [
        {"id": number, "image_id": 12, "category_id": category, **({"bbox": box} if box else {}), **more}
        for number, (category, box, more) in enumerate(objects)
    ]
    other = {"id": 99, "image_id": 10, "category_id": 1, "bbox": [0, 0, 4, 4]}
    found = read_benchmark(f"{coco(annotations=[*annotations, other])}?several=largest")
    assert found.photos.filter(path="2.jpg")["class_name"].to_list() == [expected]


def test_coco_photos_of_several_categories_may_count(coco, server):
    path = coco()
    benchmark = read_benchmark(f"{path}?several=largest&background=place")
    assert benchmark.photos["class_name"].to_list() == ["hen", "tench", "hen"]
    assert benchmark.photos["background"].unique().to_list() == ["sea"]
    assert "The class of a photo of several categories is that of its largest object." in benchmark.notes
    images = [{"id": 10, "file_name": "x", "coco_url": server.address(3)}]
    path = coco(images=images, annotations=[{"id": 1, "image_id": 10, "category_id": 1}])
    fetched = read_benchmark(f"{path}?image=coco_url")
    assert fetched.photos["photo_id"].to_list() == [hashlib.sha256(photo_bytes(3)).hexdigest()]


@pytest.mark.parametrize(
    ("changes", "settings", "message"),
    [
        ({"categories": None}, "", "is not in COCO's format: categories"),
        (
            {"annotations": [{"id": 9, "image_id": 99, "category_id": 1}]},
            "",
            "annotation 9 is of the image 99",
        ),
        ({"annotations": []}, "", r"no photo has a class \(4 without an annotation\)"),
    ],
)
def test_what_is_wrong_with_annotations_is_said_in_one_line(coco, changes, settings, message):
    with pytest.raises(CounterGroundError, match=message) as caught:
        read_benchmark(f"{coco(**changes)}{settings}")
    assert "\n" not in str(caught.value)
