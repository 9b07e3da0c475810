"""ColoredCOCO's objects from a COCO-format set written here: what is chosen, and each flaw in one line."""

import json
from collections import Counter
from functools import partial

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from counterground.errors import CounterGroundError, UsageError
from counterground.paper.study import coloredcoco  # its number of photos, which fewer stand in for
from counterground.paper.study._objects import COCO_CLASSES, load_coco_objects
from counterground.paper.study.coloredcoco import Source

FEW = {"train": 2, "validation": 1, "test": 1}
SIDE = 120


def box(left, top, width, height):
    """A rectangle as COCO writes polygons."""
    right, bottom = left + width, top + height
    return [[left, top, right, top, right, bottom, left, bottom]]


def runs(left, top, width, height, side=SIDE):
    """A rectangle as run lengths, as COCO writes crowds."""
    mask = np.zeros((side, side), np.uint8, order="F")
    mask[top : top + height, left : left + width] = 1
    encoded = coco_mask.encode(mask)
    return {"size": encoded["size"], "counts": encoded["counts"].decode()}


class Coco:
    """A COCO folder in the making."""

    def __init__(self, folder):
        self.folder = folder
        self.images, self.annotations = [], []
        self.categories = [{"id": 10 + place, "name": name} for place, name in enumerate(COCO_CLASSES)]
        self.categories.append({"id": 99, "name": "person"})

    def photo(self, *objects, color=(200, 100, 50), mode="RGB"):
        """Add a photo with objects (class, segmentation, area, crowd); return its id."""
        number = len(self.images) + 1
        name = f"{number:012d}.jpg"
        path = self.folder / "train2017" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (SIDE, SIDE), color).convert(mode).save(path, quality=95)
        self.images.append({"id": number, "file_name": name, "width": SIDE, "height": SIDE})
        for label, segmentation, area, crowd in objects:
            identity = next(each["id"] for each in self.categories if each["name"] == label)
            entry = {"id": 100 * number + len(self.annotations), "image_id": number, "category_id": identity}
            entry |= {"segmentation": segmentation, "area": area, "iscrowd": int(crowd)}
            self.annotations.append(entry | {"bbox": [5, 5, 110, 110]})
        return number

    def write(self):
        """Write the annotations; return the folder."""
        file = self.folder / "annotations" / "instances_train2017.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        tables = {"images": self.images, "annotations": self.annotations, "categories": self.categories}
        file.write_text(json.dumps(tables))
        return self.folder


@pytest.fixture
def coco(tmp_path):
    """Four plain photos of every class."""
    made = Coco(tmp_path / "coco")
    for _ in range(4):
        for name in COCO_CLASSES:
            made.photo((name, box(5, 5, 110, 110), 12100.0, False))
    return made


def load(coco, size=60, **options):
    return load_coco_objects(coco.write(), size, per_class=FEW, **options)


def test_other_photos_under_the_same_path_are_another_source(coco, tmp_path, monkeypatch):
    monkeypatch.setattr(coloredcoco, "load_coco_objects", partial(load_coco_objects, per_class=FEW))
    source = Source(coco.write(), 60, None, tmp_path / "small")
    found = source.identity("small")
    photo = next((source.coco / "train2017").iterdir())
    with Image.open(photo) as stored:
        darker = Image.new("RGB", stored.size, (3, 3, 3))
    darker.save(photo)
    coloredcoco._objects.cache_clear()
    coloredcoco._objects_digest.cache_clear()
    assert source.identity("small") != found


def test_parts_hold_what_was_asked_for_and_share_no_photo(coco):
    objects = load(coco)
    for part, wanted in FEW.items():
        assert objects.pixels[part].shape == (9 * wanted, 60, 60, 4)
        assert Counter(objects.classes[part].tolist()) == dict.fromkeys(range(9), wanted)
    names = [name for part in FEW for name in objects.individuals[part]]
    assert len(set(names)) == len(names) == 36
    assert objects.biased == tuple(range(9))
    assert objects.names == COCO_CLASSES


def test_the_largest_object_of_a_photo_decides_its_class_and_mask(coco):
    number = coco.photo(
        ("dog", box(0, 0, 101, 101), 10201.0, False),
        ("bus", box(5, 5, 110, 110), 12100.0, False),
        ("bus", box(0, 0, 100, 105), 10500.0, False),
        ("person", box(0, 0, 120, 120), 14400.0, False),
    )
    objects = load_coco_objects(coco.write(), 60, per_class={"train": 3, "validation": 1, "test": 1})
    name = f"{number:012d}.jpg"
    buses = [
        (part, row)
        for part in FEW
        for row, each in enumerate(objects.individuals[part])
        if each == name and COCO_CLASSES[objects.classes[part][row]] == "bus"
    ]
    assert len(buses) == 1
    part, row = buses[0]
    assert objects.pixels[part][row][..., 3].mean() == pytest.approx(255 * 12100 / 14400, rel=0.01)
    assert sum(each == name for part in FEW for each in objects.individuals[part]) == 1


def test_crowds_and_tiny_objects_are_left_out(coco):
    coco.photo(("dog", runs(5, 5, 110, 110), 12100.0, True))
    coco.photo(("dog", box(5, 5, 50, 50), 2500.0, False))
    coco.photo(("dog", box(5, 5, 99, 101), 9999.0, False))
    objects = load(coco)
    used = {name for part in FEW for name in objects.individuals[part]}
    assert not used & {f"{number:012d}.jpg" for number in (37, 38, 39)}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"segmentation": []}, "no outline"),
        ({"segmentation": runs(5, 5, 50, 50, side=60)}, r"the size \[60, 60\], the photo \[120, 120\]"),
        ({"image_id": 4711}, "is of the image 4711, which is not there"),
    ],
)
def test_annotations_that_cannot_be_used_are_named(coco, change, says):
    coco.annotations[3] |= change
    with pytest.raises(CounterGroundError, match=f"annotation {coco.annotations[3]['id']}.*{says}"):
        load(coco)


def test_a_missing_class_and_too_few_photos_are_named(coco):
    coco.annotations = [
        each for each in coco.annotations if each["category_id"] != 13 or each["image_id"] < 9
    ]
    with pytest.raises(
        CounterGroundError, match="1 photos show a large dog; validation and test alone need 2"
    ):
        load(coco)
    next(each for each in coco.categories if each["name"] == "zebra")["name"] = "quagga"
    with pytest.raises(CounterGroundError, match="no class 'zebra'"):
        load(coco)


def test_a_folder_without_coco_is_a_wrong_usage(tmp_path):
    with pytest.raises(UsageError, match=r"instances_train2017\.json.*cocodataset\.org"):
        load_coco_objects(tmp_path / "nowhere", 64)
