"""A manifest of the user's own."""

import re

import polars as pl
import pytest
from PIL import Image

from counterground.errors import CounterGroundError
from counterground.photos import Benchmark, read_benchmark, read_table
from counterground.photos._classified import with_covariates  # without photos


@pytest.fixture
def write(tmp_path):
    """Write a manifest of three photos that exist; columns may be changed, added or (None) left out."""
    for number in range(3):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number}.png")

    def write(**columns):
        columns = {"path": ["2.png", "0.png", "1.png"], "class_name": ["hen", "tench", "hen"], **columns}
        path = tmp_path / "mine.parquet"
        pl.DataFrame({k: v for k, v in columns.items() if v is not None}, strict=False).write_parquet(path)
        return path

    return write


def test_optional_columns_are_kept_and_others_noted(write):
    benchmark = read_benchmark(
        write(
            group=["common", None, "counter"],
            cluster=[7, 7, 8],
            source=["a", "b", None],
            correct=["x", "y", "z"],
            weather=["fog", "sun", None],
        )
    )
    assert benchmark.photos["weather"].to_list() == ["sun", None, "fog"]
    assert benchmark.photos["group"].to_list() == [None, "counter", "common"]
    assert benchmark.photos["cluster"].to_list() == ["7", "8", "7"]
    taken = "the name is taken by predictions, scores or expressions: rename it"
    assert benchmark.notes == (
        f"Columns of the manifest that were not used: correct ({taken}).",
        "No common photo, so no drop, for 1 of 2 classes: tench.",
        "No counter photo, so no drop, for 1 of 2 classes: tench.",
    )


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"])
def test_every_file_is_read_alike(write, tmp_path, suffix):
    nfc, nfd = "caf\u00e9", "cafe\u0301"
    columns = {
        "wet": [True, None, False],
        "place": [" sea ", "", nfd],
        "kind": [nfc, nfd, "x"],
        "background": ["grass", " ", "road "],
        "other": [1, 2, 3],
        "cluster": [nfd, nfc, None],
    }
    rows = pl.read_parquet(write(class_name=["my hen ", " tench", "my hen"], **columns))
    rows = rows.with_columns(pl.col("class_name").cast(pl.Categorical))
    path = tmp_path / f"mine{suffix}"
    if suffix in (".csv", ".tsv"):
        rows.write_csv(path, separator="," if suffix == ".csv" else "\t")
    elif suffix != ".parquet":
        rows.write_ndjson(path)
    else:
        rows.write_parquet(path)
    frame = Benchmark.from_frame(rows, root=tmp_path, attributes=["wet", "place", "kind", "other"])
    for benchmark in (read_benchmark(path), frame):
        assert benchmark.photos.select("class_name", *columns).rows() == [
            ("tench", None, None, nfc, None, 2.0, nfc),
            ("my hen", "no", nfc, "x", "road", 3.0, None),
            ("my hen", "yes", "sea", nfc, "grass", 1.0, nfc),
        ]
        assert benchmark.version == frame.version


@pytest.mark.parametrize("name", ["backgroud", "Background", "GROUP", "Cluster", "Class index"])
def test_a_column_one_slip_from_a_known_one_is_no_attribute(write, name):
    with pytest.raises(CounterGroundError, match=f"column '{name}': did you mean '"):
        read_benchmark(write(**{name: ["x", "y", "z"]}))


def test_a_table_as_pandas_writes_it(write, tmp_path):
    """A column without a name, floats for whole numbers, a byte order mark, spaces after commas."""
    write()
    path = tmp_path / "mine.csv"
    path.write_text("\ufeff,path, class_name,class_index\n0,0.png, tench,0.0\n1,1.png, my hen,1.0\n")
    benchmark = read_benchmark(path)
    assert benchmark.classes.names == ("my hen", "tench")
    assert benchmark.classes.imagenet == (None, 0)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "path,class_name\n", "a.csv has no rows."),
        ("a.csv", "path,class_name\n0.png,h\xe9n\n", "it is not UTF-8; save it as UTF-8."),
        ("a.csv", "path,class_name\n0.png,hen,grass\n", "row 1 has more cells than the header has names."),
    ],
)
def test_what_is_wrong_with_a_text_is_said_in_one_line(write, tmp_path, name, text, message):
    write()
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(CounterGroundError, match=re.escape(message)) as caught:
        read_benchmark(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_absolute_paths_are_read_from_the_folder_they_share_on(write, tmp_path):
    relative = read_benchmark(write())
    elsewhere = tmp_path / "lists" / "mine.csv"
    elsewhere.parent.mkdir()
    rows = [
        (str(tmp_path / path), name) for path, name in relative.photos.select("path", "class_name").rows()
    ]
    pl.DataFrame(rows, schema=["path", "class_name"], orient="row").write_csv(elsewhere)
    benchmark = read_benchmark(elsewhere)
    assert benchmark.root == tmp_path
    assert benchmark.version == relative.version
    (note,) = benchmark.notes
    assert repr(tmp_path.name) in note
    assert str(tmp_path) not in note  # notes are in files that are passed on
    with elsewhere.open("a") as file:
        file.write("0.png,tench\n")
    with pytest.raises(CounterGroundError, match=r"absolute and others, such as '0\.png'"):
        read_benchmark(elsewhere)
    mask = [str(tmp_path / "0.png"), "1.png"]
    mixed = pl.DataFrame({"path": [path for path, _ in rows[:2]], "class_name": "hen", "mask": mask})
    mixed.write_csv(elsewhere)
    with pytest.raises(CounterGroundError, match=r"absolute and others, such as '1\.png'"):
        read_benchmark(elsewhere)


def test_class_index_alone_is_imagenets(write):
    benchmark = read_benchmark(write(class_name=None, class_index=[100, 9, 100]))
    assert benchmark.classes.names == ("ostrich", "black swan")
    assert benchmark.classes.imagenet == (9, 100)
    assert benchmark.photos["class_name"].to_list() == ["ostrich", "black swan", "black swan"]
    assert benchmark.notes == ("Classes without names were read as ImageNet-1K indices.",)


def test_given_hashes_are_believed_until_the_photo_is_read(write):
    ids = ["0" * 64, "1" * 64, "2" * 64]
    benchmark = read_benchmark(write(path=["gone.png", "0.png", "1.png"], photo_id=ids))
    assert benchmark.photos["photo_id"].to_list() == [ids[1], ids[2], ids[0]]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            {"path": None},
            "no column 'path'; it has class_name. Say which it is: evaluate --map path=COLUMN",
        ),
        (
            {"background": ["Grass", None, "grass"]},
            "'Grass' and 'grass' are the same background: write it in one way.",
        ),
        ({"class_name": None, "class_index": [0, 1000, 0]}, "class_index 1000 is not an ImageNet-1K index"),
        ({"path": ["0.png", "0.png", "1.png"]}, "Row 2 of the manifest has the path of row 1, '0.png'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(write, columns, message):
    path = write(**columns)
    with pytest.raises(CounterGroundError, match=re.escape(message)) as caught:
        read_benchmark(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("whole", "kind"), [(1_714_000_000_000_000, pl.Float64), (2**53 + 1, pl.String)])
def test_whole_numbers_are_numbers_as_long_as_they_stay_apart(tmp_path, whole, kind):
    (tmp_path / "photos.csv").write_text(f"path,time\na.png,{whole}\nb.png,1\n")
    frame = with_covariates(read_table(tmp_path / "photos.csv"))
    assert frame.schema["time"] == kind


@pytest.mark.parametrize(
    ("codes", "kept"),
    [
        (["007", "7", "8"], ["007", "7", "8"]),
        (["0000000000000001", "1", None], ["0000000000000001", "1", None]),
        (["01", "02", "12"], [1.0, 2.0, 12.0]),
        (["1", "1.0", "-0", "0"], [1.0, 1.0, 0.0, 0.0]),
    ],
)
def test_codes_that_differ_in_leading_zeros_stay_apart(tmp_path, codes, kept):
    rows = [f"{number}.png,{code or ''}" for number, code in enumerate(codes)]
    (tmp_path / "photos.csv").write_text("\n".join(["path,observer", *rows, ""]))
    assert with_covariates(read_table(tmp_path / "photos.csv"))["observer"].to_list() == kept


def test_names_name_the_numbers_of_class_index_if_there_is_no_other_class(write, tmp_path):
    (tmp_path / "names.txt").write_text("hen\ntench\nmy bird\n")
    found = read_benchmark(f"{write(class_name=None, class_index=[0, 1, 0])}?names={tmp_path}/names.txt")
    assert found.photos.select("path", "class_name").rows() == [
        ("0.png", "tench"),
        ("1.png", "hen"),
        ("2.png", "hen"),
    ]
    with pytest.raises(CounterGroundError, match=r"no column 'class_name'"):
        read_benchmark(f"{write(class_name=None)}?names={tmp_path}/names.txt")
