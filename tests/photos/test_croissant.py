"""Benchmarks described in Croissant: of third parties, as mlcroissant's own classes write them, and ours."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import json
import tarfile
import threading
import zipfile

import mlcroissant as mlc
import polars as pl
import pytest
from PIL import Image

from counterground.benchmarks import open_benchmark
from counterground.construction.exports import export
from counterground.errors import CounterGroundError, UsageError
from counterground.photos import photo_id, read_benchmark

TEXT, INTEGER, IMAGE = mlc.DataType.TEXT, mlc.DataType.INTEGER, mlc.DataType.IMAGE_OBJECT
CLASSES = ("ox", "hen")


def picture(number, kind="JPEG"):
    data = io.BytesIO()
    Image.new("RGB", (8, 8), (number * 20, 90, 10)).save(data, kind)
    return data.getvalue()


def field(record_set, name, data_type, file, *, references=None, regex=None, **extract):
    where = {"file_set" if file == "images" else "file_object": file}
    transforms = [mlc.Transform(regex=regex)] if regex else []
    source = mlc.Source(**where, extract=mlc.Extract(**extract), transforms=transforms)
    more = {"references": mlc.Source(**references)} if references else {}
    return mlc.Field(
        id=f"{record_set}/{name}", name=name, data_types=[data_type], source=source, description=name, **more
    )


def images(record_set="all", name="image"):
    return field(record_set, name, IMAGE, "images", file_property=mlc.FileProperty.content)


def write(folder, distribution, *record_sets, file="croissant.json"):
    """Write a Croissant file as its authors' library does."""
    metadata = mlc.Metadata(
        name="barnyard",
        description="Photos of others.",
        url="https://example.org/barnyard",
        license=["https://creativecommons.org/publicdomain/zero/1.0/"],
        date_published="2026-01-02",
        version="1.0.0",
        cite_as="nobody",
        distribution=distribution,
        record_sets=[
            mlc.RecordSet(id=name, name=name, description=name, fields=fields, data=data)
            for name, fields, data in record_sets
        ],
    )
    (folder / file).write_text(json.dumps(metadata.to_json(), default=str))
    return folder / file


def file_set(includes="*/*.jpg", **more):
    formats = ["image/jpeg"]
    return mlc.FileSet(
        id="images",
        name="images",
        description="images",
        includes=[includes],
        encoding_formats=formats,
        **more,
    )


def file_object(folder, name, kind, url=None, **more):
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    return mlc.FileObject(
        id=name,
        name=name,
        description=name,
        content_url=url or name,
        encoding_formats=[kind],
        sha256=digest,
        **more,
    )


@pytest.fixture
def barnyard(tmp_path):
    """Photos in folders of their classes, which an expression finds in the path."""
    for number in range(6):
        path = tmp_path / "barnyard" / CLASSES[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number))
    return tmp_path / "barnyard"


def species(record_set="all", name="species", data_type=TEXT, regex=r"^(\w+)/"):
    fullpath = mlc.FileProperty.fullpath
    return field(record_set, name, data_type, "images", file_property=fullpath, regex=regex)


def test_a_folder_is_read_by_its_croissant_file(barnyard):
    write(barnyard, [file_set()], ("all", [images(), species(name="label")], None))
    found = read_benchmark(barnyard)
    assert (found.name, found.label_space.names) == ("barnyard", ("hen", "ox"))
    assert found.root == barnyard
    assert found.photos["path"].to_list() == sorted(f"{CLASSES[n % 2]}/{n}.jpg" for n in range(6))
    for path, name, digest in found.photos.select("path", "class_name", "photo_id").iter_rows():
        assert path.partition("/")[0] == name
        assert digest == photo_id(barnyard / path)  # the file itself, not what was decoded from it
    assert read_benchmark(barnyard / "croissant.json").version == found.version
    assert open_benchmark(str(barnyard)).version == found.version


def test_a_field_of_the_type_label_is_the_class_whatever_its_name(barnyard):
    label = mlc.constants.ML_COMMONS_V_1_0.Label
    marked = species()
    marked.data_types = [TEXT, label]
    write(barnyard, [file_set()], ("all", [images(), marked], None))
    assert read_benchmark(barnyard).label_space.names == ("hen", "ox")


def test_fields_of_other_names_can_be_mapped(barnyard):
    fields = [images(name="picture"), species(), species(name="where", regex=r".*/(\d)\.jpg")]
    file = write(barnyard, [file_set()], ("all", fields, None))
    with pytest.raises(
        UsageError, match=r"which field is the label\?.*label=, one of picture, species, where"
    ):
        read_benchmark(file)
    found = read_benchmark(f"{file}?label=species&background=where")
    assert sorted(found.photos["background"]) == list("012345")
    assert set(found.photos["class_name"]) == set(CLASSES)
    twice = read_benchmark(f"{file}?label=species&background=where&cluster=where").photos
    assert twice["cluster"].to_list() == twice["background"].to_list()
    with pytest.raises(UsageError, match=r"has no field 'specis'.*Did you mean 'species'"):
        read_benchmark(f"{barnyard}?label=specis")
    with pytest.raises(UsageError, match=r"unknown setting 'sprit'.*Did you mean 'split'"):
        read_benchmark(f"{barnyard}?label=species&sprit=test")


def key_of_table():
    """Join the photos to the rows of ``labels.csv`` by file name."""
    return field(
        "all",
        "file",
        TEXT,
        "images",
        file_property=mlc.FileProperty.filename,
        references={"file_object": "labels.csv", "extract": mlc.Extract(column="file")},
        regex="^(.*)$",
    )


def test_a_table_is_joined_to_photos_and_its_other_fields_are_attributes(barnyard):
    rows = [(f"{n}.jpg", CLASSES[n % 2], ("grass", "snow")[n // 3], f"farm {n // 2}", n) for n in range(6)]
    columns = ["file", "label", "background", "cluster", "weight"]
    pl.DataFrame(rows, schema=columns, orient="row").write_csv(barnyard / "labels.csv")
    table = file_object(barnyard, "labels.csv", "text/csv")
    key = key_of_table()
    texts = [field("all", name, TEXT, "labels.csv", column=name) for name in columns[1:4]]
    weight = field("all", "weight", INTEGER, "labels.csv", column="weight")
    write(barnyard, [table, file_set()], ("all", [key, images(), *texts, weight], None))
    found = read_benchmark(barnyard)
    for row in found.photos.iter_rows(named=True):
        number = int(row["path"].rpartition("/")[2][0])
        assert (row["class_name"], row["background"], row["cluster"]) == rows[number][1:4]
        assert row["weight"] == number


def test_an_archive_beside_the_file_is_unpacked_once_for_its_content(barnyard, tmp_path, cache):
    packed = tmp_path / "packed"
    packed.mkdir()
    with zipfile.ZipFile(packed / "images.zip", "w") as archive:
        for path in sorted(barnyard.rglob("*.jpg")):
            archive.write(path, path.relative_to(barnyard))
    contained = file_set(contained_in=["images.zip"])
    # On the web, as data sets are described: the one beside the file is used.
    url = "https://example.org/downloads/images.zip?download=1"
    zipped = file_object(packed, "images.zip", "application/zip", url=url)
    file = write(packed, [zipped, contained], ("all", [images(), species(name="label")], None))
    found = read_benchmark(file)
    write(barnyard, [file_set()], ("all", [images(), species(name="label")], None))
    plain = read_benchmark(barnyard)
    assert found.photos.equals(plain.photos)
    unpacked = list((cache / "unpacked").iterdir())
    assert len(unpacked) == 1
    assert found.root == unpacked[0]
    assert read_benchmark(file).version == found.version
    (packed / "images.zip").write_bytes(b"PK")
    with pytest.raises(CounterGroundError, match=r"images\.zip is not the archive of croissant\.json"):
        read_benchmark(file)
    (packed / "images.zip").unlink()
    with pytest.raises(CounterGroundError, match=r"needs the archive https://example\.org/.*download both"):
        read_benchmark(file)


def test_a_tar_is_read_as_a_folder_and_what_is_no_archive_is_one_line(barnyard, tmp_path, cache):
    packed = tmp_path / "packed"
    packed.mkdir()
    with tarfile.open(packed / "images.tar", "w") as archive:
        for path in sorted(barnyard.rglob("*.jpg")):
            archive.add(path, path.relative_to(barnyard))
    described = [file_set(contained_in=["images.tar"])]
    sets = ("all", [images(), species(name="label")], None)
    tar = file_object(packed, "images.tar", "application/x-tar")
    file = write(packed, [tar, *described], sets)
    write(barnyard, [file_set()], sets)
    assert read_benchmark(file).photos.equals(read_benchmark(barnyard).photos)
    (packed / "second.tar").write_bytes((packed / "images.tar").read_bytes())
    second = file_object(packed, "second.tar", "application/x-tar")
    with pytest.raises(CounterGroundError, match=r"several archives \(images\.tar, second\.tar\)"):
        read_benchmark(write(packed, [tar, second, *described], sets))
    (packed / "images.tar").write_bytes(b"no archive" * 100)
    tar = file_object(packed, "images.tar", "application/x-tar")
    with pytest.raises(CounterGroundError, match=r"^Cannot unpack .*images\.tar: [^\n]*\.$"):
        read_benchmark(write(packed, [tar, *described], sets))
    assert len(list((cache / "unpacked").iterdir())) == 1, "nothing is left of what could not be unpacked"


@pytest.fixture
def served(tmp_path):
    """A web server of ``tmp_path/served``: its address, and the folder."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    handler.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", folder
        server.shutdown()
        thread.join()


def test_a_table_on_the_web_goes_with_an_archive_beside_the_file(barnyard, tmp_path, served):
    address, web = served
    rows = {"file": [f"{n}.jpg" for n in range(6)], "label": [CLASSES[n % 2] for n in range(6)]}
    pl.DataFrame(rows).write_csv(web / "labels.csv")
    packed = tmp_path / "packed"
    packed.mkdir()
    with zipfile.ZipFile(packed / "images.zip", "w") as archive:
        for path in sorted(barnyard.rglob("*.jpg")):
            archive.write(path, path.relative_to(barnyard))
    zipped = file_object(packed, "images.zip", "application/zip")
    table = file_object(web, "labels.csv", "text/csv", url=f"{address}/labels.csv")
    key = key_of_table()
    label = field("all", "label", TEXT, "labels.csv", column="label")
    sets = ("all", [key, images(), label], None)
    file = write(packed, [zipped, table, file_set(contained_in=["images.zip"])], sets)
    found = read_benchmark(file).photos
    assert all(
        name == path.partition("/")[0] for path, name in found.select("path", "class_name").iter_rows()
    )
    assert len(found) == 6


def parquet_of_photos(folder, labels):
    rows = {
        "image": [{"bytes": picture(n, "PNG"), "path": None} for n in range(len(labels))],
        "label": labels,
    }
    pl.DataFrame(rows).write_parquet(folder / "photos.parquet")
    fields = [
        field("all", "image", IMAGE, "photos.parquet", column="image"),
        field("all", "label", INTEGER, "photos.parquet", column="label"),
    ]
    fields[0].source.transforms = [mlc.Transform(json_path="bytes")]
    return file_object(folder, "photos.parquet", "application/x-parquet"), fields


NAMES = (
    "names",
    [
        mlc.Field(id="names/number", name="number", description="number", data_types=[INTEGER]),
        mlc.Field(id="names/name", name="name", description="name", data_types=[TEXT]),
    ],
    [{"names/number": 0, "names/name": "ox"}, {"names/number": 1, "names/name": "hen"}],
)


def test_photos_inside_a_table_on_the_web_keep_their_bytes_and_numbers_get_their_names(served):
    address, folder = served
    table, fields = parquet_of_photos(folder, [0, 1, 1, 0])
    fields[1].references = mlc.Source(field="names/number")
    write(folder, [table], ("all", fields, None), NAMES)
    found = open_benchmark(f"{address}/croissant.json")
    assert found.photos["class_name"].to_list() == ["ox", "hen", "hen", "ox"]
    expected = [hashlib.sha256(picture(n, "PNG")).hexdigest() for n in range(4)]
    assert found.photos["photo_id"].to_list() == expected


def test_named_numbers_without_a_photo_are_noted(tmp_path):
    table, fields = parquet_of_photos(tmp_path, [0, 0])
    fields[1].references = mlc.Source(field="names/number")
    write(tmp_path, [table], ("all", fields, None), NAMES)
    assert read_benchmark(tmp_path).notes[0] == (
        "No photo of 1 of the 2 classes that are named by number, so the label space 'benchmark' lacks them: "
        "hen."
    )


def test_two_numbers_of_records_with_one_name_are_refused(tmp_path):
    table, fields = parquet_of_photos(tmp_path, [0, 1, 2])
    fields[1].references = mlc.Source(field="names/number")
    name, columns, rows = NAMES
    more = [*rows, {"names/number": 2, "names/name": "ox"}]
    write(tmp_path, [table], ("all", fields, None), (name, columns, more))
    with pytest.raises(CounterGroundError, match="classes 0 and 2 are both called 'ox'"):
        read_benchmark(tmp_path)


def test_the_other_fields_of_photos_inside_a_table_are_attributes(tmp_path):
    """As those of photos that are files."""
    _, fields = parquet_of_photos(tmp_path, ["ox", "hen", "ox"])
    fields[1].data_types = [TEXT]
    rows = pl.read_parquet(tmp_path / "photos.parquet").with_columns(
        weather=pl.Series(["sun", None, "rain"]), weight=pl.Series([1.5, 2.5, None]), cluster=pl.lit("ann")
    )
    rows.write_parquet(tmp_path / "photos.parquet")
    table = file_object(tmp_path, "photos.parquet", "application/x-parquet")
    kinds = {"weather": TEXT, "weight": mlc.DataType.FLOAT, "cluster": TEXT}
    fields += [field("all", name, kind, "photos.parquet", column=name) for name, kind in kinds.items()]
    write(tmp_path, [table], ("all", fields, None))
    found = read_benchmark(tmp_path)
    assert found.photos.select(*kinds).rows() == [
        ("sun", 1.5, "ann"),
        (None, 2.5, "ann"),
        ("rain", None, "ann"),
    ]
    assert found.photos["photo_id"].to_list() == [
        hashlib.sha256(picture(n, "PNG")).hexdigest() for n in range(3)
    ]


def test_classes_as_bytes_are_texts_whatever_they_are(tmp_path):
    table, fields = parquet_of_photos(tmp_path, [b"ox", b"h\xe9n"])
    fields[1].data_types = [TEXT]
    write(tmp_path, [table], ("all", fields, None))
    assert read_benchmark(tmp_path).label_space.names == ("h\N{REPLACEMENT CHARACTER}n", "ox")


def test_photos_that_are_none_are_no_benchmark(barnyard):
    file = write(barnyard, [file_set("*/*.webp")], ("all", [images(), species(name="label")], None))
    with pytest.raises(CounterGroundError, match=r"it has no records\."):
        read_benchmark(file)


def test_numbers_without_names_are_no_classes(tmp_path):
    table, fields = parquet_of_photos(tmp_path, [0, 1, 1, 0])
    write(tmp_path, [table], ("all", fields, None))
    with pytest.raises(CounterGroundError, match=r"'label' has numbers \(0, 1\) that no record set names"):
        read_benchmark(tmp_path)


def test_a_web_address_that_fails_is_one_line(served):
    address, folder = served
    with pytest.raises(CounterGroundError, match=r"Cannot fetch .*/none\.json: the server answered 404"):
        read_benchmark(f"{address}/none.json")
    (folder / "page.json").write_text("<html>")
    with pytest.raises(CounterGroundError, match=r"page\.json is not JSON"):
        read_benchmark(f"{address}/page.json")
    write(folder, [file_set()], ("all", [images(), species(name="label")], None))
    with pytest.raises(CounterGroundError, match=r"'images' lie beside it, and a web address lists no files"):
        read_benchmark(f"{address}/croissant.json")


def test_splits_and_record_sets_are_never_mixed(barnyard):
    split = species(name="split", regex=r".*/(\d)\.jpg")
    file = write(barnyard, [file_set()], ("all", [images(), species(name="label"), split], None))
    with pytest.raises(UsageError, match=r"holds several splits: name one with split=, of 0, 1, 2, 3, 4, 5"):
        read_benchmark(file)
    assert read_benchmark(f"{file}?split=3").photos["path"].to_list() == ["hen/3.jpg"]
    two = [(name, [images(name), species(name, name="label")], None) for name in ("small", "large")]
    file = write(barnyard, [file_set()], *two)
    with pytest.raises(
        UsageError, match=r"several record sets with photos: name one with records=, of small, large"
    ):
        read_benchmark(file)
    assert len(read_benchmark(f"{file}?records=large")) == 6


def test_what_mlcroissant_refuses_is_one_line(barnyard):
    file = write(barnyard, [file_set()], ("all", [images(), species(name="label")], None))
    content = json.loads(file.read_text())
    content["recordSet"][0]["field"][0]["source"]["fileSet"]["@id"] = "others"
    file.write_text(json.dumps(content))
    with pytest.raises(CounterGroundError, match=r"mlcroissant cannot read .*others") as caught:
        read_benchmark(barnyard)
    assert "\n" not in str(caught.value)
    (barnyard / "croissant.json").write_text('{"name": "no Croissant"}')
    assert read_benchmark(barnyard).name == "barnyard"  # by its folders


def test_our_exports_come_back_by_their_croissant_file_alone(photos, tmp_path):
    benchmark = read_benchmark(photos)
    export(benchmark, tmp_path / "out", formats=["croissant"], shared=False)
    for name in ("benchmark.json", "export.json"):
        assert read_benchmark(tmp_path / "out" / "croissant.json").version == benchmark.version
        (tmp_path / "out" / name).unlink()
    back = read_benchmark(tmp_path / "out")
    assert (back.version, back.label_space) == (benchmark.version, benchmark.label_space)
    assert back.photos.equals(benchmark.photos)
    space = (tmp_path / "out" / "label_space.json").read_text()
    (tmp_path / "out" / "label_space.json").write_text(space.replace("black swan", "white swan"))
    with pytest.raises(CounterGroundError, match=r"label_space\.json is missing or changed: export again"):
        read_benchmark(tmp_path / "out")
    (tmp_path / "out" / "label_space.json").write_text(space)
    (tmp_path / "out" / benchmark.photos["path"][0]).unlink()
    with pytest.raises(CounterGroundError, match=r"its 47 photos are not those that it was written for"):
        read_benchmark(tmp_path / "out")
