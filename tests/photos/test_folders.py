"""The CounterAnimal and ImageFolder layouts, and all that may lie in them."""

import re
import shutil
import unicodedata

import pytest
from noise_photos import save_noise
from PIL import Image

from counterground.errors import CounterGroundError, UsageError
from counterground.photos import MANIFEST_SCHEMA, photo_id, read_benchmark


def fill(root, *paths):
    """Write a small photo at each path, no two alike, and return ``root``."""
    for number, path in enumerate(paths):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 50, 100)).save(root / path, "PNG")
    return root


def groups(*classes, kinds=("common-water", "counter-ground")):
    return [f"{name}/{kind}/{number}.jpg" for name in classes for kind in kinds for number in (1, 2)]


def refused(root, message, error=CounterGroundError):
    with pytest.raises(error, match=re.escape(message)) as caught:
        read_benchmark(root)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("prefix", [True, False])
def test_counteranimal_with_and_without_index(tmp_path, prefix):
    labels = {
        9: "ostrich, struthio camelus",
        56: "king snake kingsnake",
        100: "black swan",
        349: "bighorn sheep",
    }
    labels[296] = "ice bear, polar bear, ursus maritimus, thalarctos maritimus"
    names = [f"{index} {label}" if prefix else label for index, label in labels.items()]
    benchmark = read_benchmark(fill(tmp_path / "CA", *groups(*names)))
    assert benchmark.name == "CA"
    assert benchmark.notes == ()
    assert set(benchmark.photos["group"]) == {"common", "counter"}
    assert benchmark.photos.schema == MANIFEST_SCHEMA
    # As text "100" < "296" < "349" < "56" < "9".
    assert benchmark.classes.imagenet == (9, 56, 100, 296, 349)
    assert benchmark.classes.names == tuple(labels[index] for index in (9, 56, 100, 296, 349))
    assert benchmark.photos.height == 20
    assert benchmark.photos["cluster"].null_count() == 20
    for row in benchmark.photos.iter_rows(named=True):
        folder, kind, _ = row["path"].split("/")
        assert folder.endswith(row["class_name"])
        assert benchmark.classes.names[row["class_index"]] == row["class_name"]
        assert kind == f"{row['group']}-{row['background']}"
        assert row["photo_id"] == photo_id(benchmark.photo_path(row["path"]))
    assert benchmark.photos["photo_id"].n_unique() == 20


def test_one_folder_around_the_classes_is_stepped_into(tmp_path):
    bare = read_benchmark(fill(tmp_path / "bare", *groups("100 black swan", "0 tench")))
    fill(tmp_path / "CounterAnimal" / "LAION-final", *groups("100 black swan", "0 tench"))
    (tmp_path / "CounterAnimal" / "LAION-final" / "imagenet_names.txt").write_text("0\ttench\n")
    (tmp_path / "CounterAnimal" / ".DS_Store").write_text("")
    (tmp_path / "CounterAnimal" / "__MACOSX").mkdir()
    wrapped = read_benchmark(tmp_path / "CounterAnimal")
    assert wrapped.root == tmp_path / "CounterAnimal" / "LAION-final"
    assert wrapped.name == "CounterAnimal"
    assert wrapped.notes == ("The classes are the folders inside the single folder 'LAION-final'.",)
    assert wrapped.version == bare.version


@pytest.mark.parametrize("name", ["hen", "8 hen", "n01514859"])
def test_a_single_class_with_backgrounds_is_not_stepped_into(tmp_path, name):
    benchmark = read_benchmark(fill(tmp_path / "single", f"{name}/grass/1.jpg", f"{name}/rock/1.jpg"))
    assert benchmark.classes.names == ("hen",)
    assert benchmark.photos["background"].to_list() == ["grass", "rock"]
    assert benchmark.notes == ()


def test_stepping_into_a_single_folder_is_noted(tmp_path):
    stepped = read_benchmark(fill(tmp_path / "x", "my hens/grass/1.jpg", "my hens/rock/1.jpg"))
    assert stepped.photos["class_name"].to_list() == ["grass", "rock"]
    assert "The classes are the folders inside the single folder 'my hens'." in stepped.notes
    # Groups two levels down leave no doubt, whatever the folder around the classes is called.
    grouped = read_benchmark(fill(tmp_path / "y", *(f"web site/{path}" for path in groups("tench", "hen"))))
    assert grouped.classes.names == ("tench", "hen")
    assert grouped.notes == ("The classes are the folders inside the single folder 'web site'.",)


def test_junk_is_ignored_and_other_files_are_noted(tmp_path):
    root = fill(tmp_path / "x", *groups("tench"), ".hidden/common-a/1.jpg", "tench/common-water/._1.jpg")
    for path in ("README.txt", "tench/Thumbs.db", "tench/common-water/desktop.ini"):
        (root / path).write_text("junk")
    assert read_benchmark(root).notes == ()
    for path in ("common-water/list.csv", "counter-ground/3.HEIC", "notes.txt", "common-water/clip.mp4"):
        (root / "tench" / path).write_text("other")
    Image.new("RGB", (8, 8)).save(root / "beside.jpg")
    benchmark = read_benchmark(root)
    assert benchmark.photos.height == 4
    beside, others = benchmark.notes
    assert beside.startswith("Skipped 1 photo beside the class folders: beside.jpg")
    assert others.startswith("Skipped 4 files of unknown type: ")
    assert "and 1 more" in others


def test_all_classes_that_are_not_clear_are_in_one_message(tmp_path):
    names = ["hen", "crane", "maillot", "missile", "polecat", "101 black swan", "100 blak swan"]
    root = fill(tmp_path / "x", *(f"{name}/1.jpg" for name in names))
    with pytest.raises(CounterGroundError, match="Class 'blak swan'") as caught:
        read_benchmark(root)
    message = str(caught.value)
    assert all(repr(name) in message for name in ("crane", "maillot", "missile", "polecat", "101 black swan"))
    assert "Did you mean 'black swan'" in message
    assert "\n" not in message
    again = fill(tmp_path / "y", "tench/1.jpg", "n01440764/1.jpg", "hen/1.jpg", "8 hen/1.jpg")
    refused(again, "'8 hen' and 'hen'; 'n01440764' and 'tench' are the same class: write it in one way.")


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("Quoll", "quoll", "'Quoll' and 'quoll'"),
        ("tiger quoll", "tiger_ quoll", "'tiger quoll' and 'tiger_ quoll'"),
        # They look alike: the message shows which is which.
        (
            *(unicodedata.normalize(form, "café cat") for form in ("NFD", "NFC")),
            r"'cafe\u0301 cat' and 'caf\xe9 cat'",
        ),
    ],
)
def test_a_class_or_a_background_in_two_spellings_is_refused(tmp_path, one, other, both):
    """They would compete with each other, and split the photos of one background."""
    spaced = fill(tmp_path / "w", " quoll/1.jpg", "quoll/1.jpg")
    refused(spaced, "' quoll' and 'quoll' are the same class: write it in one way.")
    refused(
        fill(tmp_path / "x", f"{one}/1.jpg", f"{other}/1.jpg"),
        f"{both} are the same class: write it in one way.",
    )
    several = fill(tmp_path / "y", *groups("hen", kinds=(f"common-a {one}", f"counter-a {other}")))
    refused(several, "are the same background: write it in one way.")
    everywhere = fill(
        tmp_path / "z", f"hen/{one}/1.jpg", f"tench/{other}/1.jpg", "hen/Road/1.jpg", "hen/road/1.jpg"
    )
    for message in ("'Road' and 'road'", both):
        refused(everywhere, message)


def test_an_index_resolves_an_ambiguous_name(tmp_path):
    benchmark = read_benchmark(fill(tmp_path / "x", *groups("517 crane", "134 crane", "744 missile")))
    assert benchmark.classes.imagenet == (134, 517, 744)
    assert benchmark.classes.names == ("crane", "crane", "missile")
    assert sorted(benchmark.photos["class_index"].unique()) == [0, 1, 2]


def test_a_benchmark_of_other_things(tmp_path):
    names = ["Zebra crossing", "allen key", "crane", "10 pin connector", "9 volt battery"]
    benchmark = read_benchmark(fill(tmp_path / "x", *groups(*names)))
    assert benchmark.classes.names == tuple(sorted(names, key=str.casefold))
    assert benchmark.classes.imagenet == (None,) * 5
    assert benchmark.notes == ()


def test_gaps_are_noted_by_class(tmp_path):
    paths = (
        groups("tench", "goldfish")
        + groups("hen", kinds=("common-grass",))
        + groups("cock", kinds=("counter-sky",))
    )
    root = fill(tmp_path / "x", *paths)
    (root / "ostrich" / "common-sand").mkdir(parents=True)
    benchmark = read_benchmark(root)
    assert benchmark.classes.names == ("tench", "goldfish", "cock", "hen", "ostrich")
    assert benchmark.notes == (
        "No photo of 1 of 5 classes: ostrich.",
        "No common photo, so no drop, for 1 of 5 classes: cock.",
        "No counter photo, so no drop, for 1 of 5 classes: hen.",
    )


@pytest.mark.parametrize(
    ("stray", "message"),
    [
        ("tench/stray.jpg", "Photo 'tench/stray.jpg' is in no group"),
        ("tench/other-water/1.jpg", "Folder 'tench/other-water' is neither common-<background> nor"),
        ("tench/common-water/more/1.jpg", "Photos in 'tench/common-water/more' are too deep"),
    ],
)
def test_photos_in_the_wrong_place_are_refused(tmp_path, stray, message):
    refused(fill(tmp_path / "x", *groups("tench"), stray), message)


def test_empty_and_missing_folders(tmp_path):
    (tmp_path / "x").mkdir()
    refused(tmp_path / "x", "There is no photo in")
    (tmp_path / "x" / "tench").mkdir()
    refused(tmp_path / "x", f"There is no photo in {tmp_path / 'x'}: expected <class>/*.jpg")
    (tmp_path / "x" / "tench" / "IMG_1.HEIC").write_text("")
    refused(
        tmp_path / "x",
        "Photos of other types, such as HEIC, must be converted to JPEG.",
    )
    refused(
        fill(tmp_path / "flat", "1.jpg", "2.jpg"),
        f"Photos such as 1.jpg lie directly in {tmp_path / 'flat'}: put them into class folders; expected <",
    )
    refused(tmp_path / "none", "does not exist", UsageError)
    (tmp_path / "x.zip").write_text("")
    refused(tmp_path / "x.zip", "neither a folder of photos nor a manifest (.parquet, .csv", UsageError)


@pytest.mark.parametrize(
    "names", [("n01443537", "n01440764", "n01518878"), ("goldfish", "tench", "9"), ("1", "0", "9")]
)
def test_imagefolder_by_wnid_name_or_index(tmp_path, names):
    benchmark = read_benchmark(fill(tmp_path / "x", *(f"{name}/{n}.jpg" for name in names for n in range(2))))
    assert benchmark.classes.names == ("tench", "goldfish", "ostrich")
    assert benchmark.classes.imagenet == (0, 1, 9)
    assert benchmark.photos["group"].null_count() == 6
    assert benchmark.photos["background"].null_count() == 6
    by_path = dict(zip(benchmark.photos["path"], benchmark.photos["class_name"], strict=True))
    assert by_path == {
        f"{names[k]}/{n}.jpg": ("goldfish", "tench", "ostrich")[k] for k in range(3) for n in range(2)
    }
    numbers = any(name.isdigit() for name in names)
    assert bool(benchmark.notes) == numbers
    assert not numbers or benchmark.notes == (
        "Classes named by bare numbers were read as ImageNet-1K indices.",
    )


def test_imagefolder_deeper_than_classes_is_refused(tmp_path):
    refused(fill(tmp_path / "x", "cat/1.jpg", "cat/a/1.jpg"), "Photos in 'cat/a' are too deep")
    refused(fill(tmp_path / "y", "dog/sky/1.jpg", "cat/snow/a/1.jpg"), "Photos in 'cat/snow/a' are too deep")
    refused(fill(tmp_path / "z", "train/tench/1.jpg", "val/tench/1.jpg"), "'train' looks like a split")
    refused(fill(tmp_path / "w", "training/tench/1.jpg", "testing/tench/1.jpg"), "'testing' looks like a spl")


def test_folders_of_backgrounds_without_groups(tmp_path):
    root = fill(
        tmp_path / "x", "tench/water/1.jpg", "tench/hand/2.jpg", "ostrich/sand/1.jpg", "ostrich/sand/2.jpg"
    )
    benchmark = read_benchmark(root)
    assert benchmark.photos["group"].null_count() == 4
    assert benchmark.classes.imagenet == (0, 9)
    seen = benchmark.photos.select("class_name", "background").rows()
    assert sorted(seen) == [("ostrich", "sand")] * 2 + [("tench", "hand"), ("tench", "water")]
    assert read_benchmark(fill(tmp_path / "y", "train/tench/1.jpg", "train/hen/1.jpg")).root.name == "train"


def test_a_folder_of_links_is_read_as_if_they_were_photos(tmp_path):
    kept = fill(tmp_path / "kept", "n01440764/a.jpg", "n01440764/b.jpg", "hens/a.jpg")
    (tmp_path / "subset" / "tench").mkdir(parents=True)
    (tmp_path / "subset" / "tench" / "1.jpg").symlink_to(kept / "n01440764/a.jpg")
    (tmp_path / "subset" / "hen").symlink_to(kept / "hens")
    benchmark = read_benchmark(tmp_path / "subset")
    assert benchmark.photos.select("path", "class_name").rows() == [
        ("hen/a.jpg", "hen"),
        ("tench/1.jpg", "tench"),
    ]
    assert benchmark.photos["photo_id"].to_list() == [
        photo_id(kept / "hens/a.jpg"),
        photo_id(kept / "n01440764/a.jpg"),
    ]
    copies = fill(tmp_path / "copies", "x/y.jpg")
    shutil.rmtree(copies)
    shutil.copytree(tmp_path / "subset", copies)
    assert read_benchmark(copies).version == benchmark.version


def test_photos_behind_a_link_below_the_layout_are_too_deep(tmp_path):
    kept = fill(tmp_path / "kept", "a.jpg")
    root = fill(tmp_path / "x", "tench/1.jpg", "hen/1.jpg")
    (root / "tench" / "more").mkdir()
    (root / "tench" / "more" / "back").symlink_to(root / "tench" / "more")
    assert len(read_benchmark(root).photos) == 2
    (root / "tench" / "more" / "linked").symlink_to(kept)
    refused(root, "Photos in 'tench/more' are too deep")


def test_broken_links_and_links_in_a_circle_are_refused(tmp_path):
    root = fill(tmp_path / "x", "tench/1.jpg", "hen/1.jpg")
    (root / "tench" / "again").symlink_to(root)
    refused(root, "Photos in 'tench/again' are too deep")
    (root / "tench" / "again").unlink()
    for link in ("tench/3.jpg", "ostrich"):
        (root / link).symlink_to(tmp_path / "nothing")
        refused(root, f"{link} is a broken link")
        (root / link).unlink()


def test_a_photo_in_both_groups_is_noted(tmp_path):
    for name in ("common-grass", "counter-road"):
        save_noise(tmp_path / "zebra" / name / "1.jpg", 1)
    notes = read_benchmark(tmp_path).notes
    assert "1 photo in both groups, byte for byte: no drop can come from them." in notes
    assert "1 photo repeats another byte for byte: their clusters count as one." in notes


def test_a_photo_in_two_classes_is_noted(tmp_path):
    for place, name in enumerate(("zebra", "horse", "zebra")):
        save_noise(tmp_path / name / "grass" / f"{place}.jpg", 1)
    found = read_benchmark(tmp_path)
    assert "1 photo in several classes, byte for byte: at most one is right." in found.notes
    assert "2 photos repeat another byte for byte: their clusters count as one." in found.notes
