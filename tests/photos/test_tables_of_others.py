"""Tables that others made: their names of columns, rows that cannot be used, photos that are elsewhere."""

import json

import pytest
from PIL import Image

from counterground.benchmarks import open_benchmark
from counterground.errors import CounterGroundError, UsageError
from counterground.photos import photo_id, read_benchmark, without_classes, write_benchmark


@pytest.fixture
def write(tmp_path):
    """Write a CSV of photos ``0.png`` to ``3.png``, of which all exist."""
    for number in range(4):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number}.png")

    def write(text, name="mine.csv"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


TRAPS = """File_Name,Species,Habitat,Location,Site ID,Temp (C)
0.png,lion,grass,C01,a,7
1.png,zebra,road,C02,a,8
2.png,zebra,grass,C01,b,9
"""


def test_a_path_may_also_be_the_cluster(write):
    table = write("path,label\n0.png,lion\n1.png,zebra\n")
    assert open_benchmark(f"{table}?cluster=path").photos["cluster"].to_list() == ["0.png", "1.png"]


def test_columns_are_named_by_the_user_or_by_their_usual_names(write):
    table = write(TRAPS)
    named = {"class_name": "Species", "background": "Habitat", "cluster": "Location"}
    mapped = open_benchmark(table, columns=named)
    asked = open_benchmark(f"{table}?image=File_Name&background=Habitat&cluster=Location")
    assert mapped.version == asked.version
    assert mapped.columns == asked.columns
    assert mapped.columns == {
        "File_Name": "path",
        "Species": "class_name",
        "Habitat": "background",
        "Location": "cluster",
        "Site ID": "site_id",
        "Temp (C)": "temp_c",
    }
    columns = ("path", "class_name", "background", "cluster", "site_id", "temp_c")
    assert mapped.photos.select(columns).row(1) == ("1.png", "zebra", "road", "C02", "a", 8.0)


@pytest.mark.parametrize(
    ("path", "label"),
    [("path", "label"), ("PATH", "Class"), ("filename", "species"), ("filepath", "category")],
)
def test_usual_names_need_no_map(write, path, label):
    found = read_benchmark(write(f"{path},{label}\n0.png,lion\n1.png,zebra\n"))
    assert found.photos["class_name"].to_list() == ["lion", "zebra"]


@pytest.mark.parametrize(
    ("header", "culprit"),
    [("path,label,species", "class_name"), ("filename,image,class_name", "path")],
)
def test_two_columns_that_may_be_meant_are_not_guessed(write, header, culprit):
    with pytest.raises(CounterGroundError, match=f"no column '{culprit}'.*--map {culprit}=COLUMN"):
        read_benchmark(write(f"{header}\n0.png,a,b\n"))


def test_names_of_columns_survive_in_a_benchmark_that_is_written(write, tmp_path):
    found = open_benchmark(write(TRAPS), columns={"cluster": "Location"})
    again = read_benchmark(write_benchmark(found, tmp_path / "written"))
    assert (again.columns, again.version) == (found.columns, found.version)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"pth": "File_Name"}, "no column 'pth'.*Did you mean 'path'"),
        ({"cluster": "Locatoin"}, "no column 'Locatoin'.*Did you mean 'Location'"),
        ({"cluster": "Location", "background": "Location"}, "'Location' is named as background and as clust"),
    ],
)
def test_a_map_that_cannot_be_meant_is_refused(write, columns, message):
    with pytest.raises(UsageError, match=message):
        open_benchmark(write(TRAPS), columns=columns)


def test_what_has_no_columns_takes_no_map(write, tmp_path):
    found = read_benchmark(write(TRAPS))
    (tmp_path / "folder" / "lion").mkdir(parents=True)
    (tmp_path / "0.png").rename(tmp_path / "folder/lion/0.png")
    for data in (found, "stamps", tmp_path / "folder"):
        with pytest.raises(UsageError):
            open_benchmark(data, columns={"cluster": "Location"})


BAD = "path,class_name\n0.png,lion\n,lion\ngone.png,zebra\n1.png,\n2.png,zebra\n"


def test_all_bad_rows_are_listed_at_once(write):
    with pytest.raises(CounterGroundError) as caught:
        read_benchmark(write(BAD))
    listed = "row 2: no path, row 3 ('gone.png'): missing file, row 4 ('1.png'): no class_name."
    assert f"3 of 5 rows cannot be used: {listed}" in str(caught.value)
    many = "".join(f"{number}.gone,lion\n" for number in range(25))
    with pytest.raises(CounterGroundError, match=r"28 of 30 .* row 22 .* and 8 more\.") as caught:
        read_benchmark(write(BAD + many))
    assert str(caught.value).count("missing file") == 18


def test_bad_rows_are_left_out_on_request(write):
    found = open_benchmark(write(BAD), skip_bad_rows=True)
    assert found.photos["path"].to_list() == ["0.png", "2.png"]
    assert found.left_out.rows() == [
        (2, None, "no path"),
        (3, "gone.png", "missing file"),
        (4, "1.png", "no class_name"),
    ]
    assert found.left_out.columns == ["row", "name", "reason"]
    assert found.notes == ("3 of 5 rows left out (1 no path, 1 missing file, 1 no class_name).",)
    good = write("path,class_name\n0.png,lion\n2.png,zebra\n", "good.csv")
    assert (read_benchmark(good).left_out, read_benchmark(good).version) == (None, found.version)
    with pytest.raises(CounterGroundError, match="2 of 2 rows cannot be used"):
        open_benchmark(write("path,class_name\na.png,lion\nb.png,zebra\n"), skip_bad_rows=True)


def test_classes_that_are_none_are_noted_and_left_out_on_request(write):
    found = read_benchmark(write("path,class_name\n0.png,lion\n1.png,Blank\n2.png,Unknown\n3.png,zebra\n"))
    notes = [note for note in found.notes if "--drop-classes" in note]
    assert [note.split()[0] for note in notes] == ["'Blank'", "'Unknown'"]
    smaller = without_classes(found, ["blank", "Unknown"])
    assert smaller.classes.names == ("lion", "zebra")
    assert smaller.photos.select("path", "class_index").rows() == [("0.png", 0), ("3.png", 1)]
    assert smaller.notes == ("2 photos of Blank, Unknown left out.",)
    with pytest.raises(UsageError, match="no class 'Blnk'"):
        without_classes(found, ["Blnk"])


def test_photos_that_are_elsewhere_are_told_apart_by_their_paths(write, tmp_path):
    table = write("path,class_name\na/0.jpg,lion\na/1.jpg,zebra\n", "elsewhere.csv")
    found = open_benchmark(table, files=False)
    assert found.photos["photo_id"].n_unique() == 2
    assert len(found.notes) == 1
    with pytest.raises(CounterGroundError, match="2 of 2 rows cannot be used"):
        open_benchmark(table)
    here = open_benchmark(write("path,class_name\n0.png,lion\n1.png,zebra\n"), files=False)
    assert here.photos["photo_id"].to_list() == [photo_id(tmp_path / f"{number}.png") for number in (0, 1)]
    assert here.notes == ()


def test_no_url_is_fetched_if_photos_may_be_elsewhere(write):
    found = open_benchmark(write("url,label\nhttps://nowhere.invalid/0.jpg,lion\n"), files=False)
    assert found.photos["source"].to_list() == ["https://nowhere.invalid/0.jpg"]


CAMERA_TRAPS = {
    "info": {"version": "1.0"},
    "images": [
        {
            "id": f"image-{number}",
            "file_name": f"{number}.png",
            "location": location,
            "seq_id": f"s{number // 2}",
            "datetime": "2020-01-01 10:00:00",
            "corrupt": False,
        }
        for number, location in enumerate(["C01", "C01", 2, None])
    ],
    "categories": [{"id": 0, "name": "empty"}, {"id": 1, "name": "lion"}, {"id": 2, "name": "zebra"}],
    "annotations": [
        {"id": "a0", "image_id": "image-0", "category_id": 1, "sequence_level_annotation": True},
        {"id": "a1", "image_id": "image-1", "category_id": 1},
        {"id": "a2", "image_id": "image-1", "category_id": 2},
        {"id": "a3", "image_id": "image-2", "category_id": 0},
    ],
}
"""As on https://github.com/agentmorris/MegaDetector: no boxes, ids that are texts."""


def test_camera_traps_in_cocos_format(write):
    table = write(json.dumps(CAMERA_TRAPS), "traps.json")
    found = open_benchmark(table, columns={"cluster": "location"})
    assert found.photos.select("path", "class_name", "cluster", "seq_id").rows() == [
        ("0.png", "lion", "C01", "s0"),
        ("2.png", "empty", "2", "s1"),
    ]
    assert found.columns["location"] == "cluster"
    assert found.notes[0].startswith("1 photo of several categories")
    assert found.notes[1].startswith("1 photo without an annotation")
    assert any("--drop-classes empty" in note for note in found.notes)
    assert without_classes(found, ["empty"]).classes.names == ("lion",)
    for setting in ("cluster=location", "cluster=location&several=largest"):  # no sizes are stated
        assert open_benchmark(f"{table}?{setting}").version == found.version
    elsewhere = write(json.dumps(CAMERA_TRAPS).replace(".png", ".gone"), "elsewhere.json")
    assert len(open_benchmark(elsewhere, files=False)) == 2
