"""Data sets with classes of ImageNet: ImageNet-9, FOCUS, Hard ImageNet and ObjectNet.

The docstring of each says where its facts come from and which were not verified.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl
from PIL import Image, ImageOps

from counterground.benchmarks._layout import Change, Copy, LayoutBenchmark, as_published
from counterground.errors import CounterGroundError
from counterground.files import open_regular, read_json, read_text
from counterground.metrics import DROP, Contrast, Design
from counterground.photos import imagenet_names, imagenet_wnids, load_photo


def _members(ranges: str) -> tuple[int, ...]:
    """Return the indices of ranges such as ``7-24 87``."""
    bounds = [part.partition("-") for part in ranges.split()]
    return tuple(i for first, _, last in bounds for i in range(int(first), int(last or first) + 1))


_VEHICLES = """
407-408 428 436 444 468 511 547 555 561 565 569 573 575 586 603 609 612 627 656 660-661 665 670-671 675 690
705 717 734 751 757 791 802-803 817 820 829 847 864 866-867 870 880
"""
_INSTRUMENTS = """
401-402 420 432 486 494 513 541 546 558 566 577 579 593-594 641-642 683-684 687 699 776 822 875 881 889
"""
_NINE = {
    "dog": "151-170 173-268",
    "bird": "7-24 87-100 127-146",
    "wheeled vehicle": _VEHICLES,
    "reptile": "33-68",
    "carnivore": "269-280 286-299 356-362 387-388",
    "insect": "300-326",
    "musical instrument": _INSTRUMENTS,
    "primate": "365-384",
    "fish": "0-6 389-397",
}
_NEEDED = ("mixed_same", "mixed_rand")
_VARIANTS = (*_NEEDED, "original", "mixed_next", "only_fg", "no_fg", "only_bg_b", "only_bg_t")
_MAPPING = "in_to_in9.json"


def _mapped(mapping: Any) -> dict[str, tuple[int, ...]]:
    """Return the ImageNet classes of each of the nine; -1 stands for none of them."""
    numbers = {
        name: [index for index, value in mapping.items() if value == number]
        for number, name in enumerate(_NINE)
    }
    if set(mapping.values()) - {-1, *range(len(_NINE))} or not all(numbers.values()):
        raise ValueError("it must give numbers from -1 to 8, and each of 0 to 8")
    return {name: tuple(sorted(map(int, indices))) for name, indices in numbers.items()}


def _read_nine(copy: Copy) -> pl.DataFrame:
    mapping = copy.root / _MAPPING
    if not mapping.is_file():
        copy.notes.append(
            f"{_MAPPING} is not in this copy: which ImageNet classes count as which of the nine was derived "
            "from WordNet, and is not verified for wheeled vehicles. Put the authors' file beside the "
            "folders and run `counterground benchmarks get imagenet9 --from FOLDER`."
        )
    else:
        with as_published(mapping):
            copy.classes.update(_mapped(read_json(mapping)))
    here = [name for name in _VARIANTS if name in _NEEDED or (copy.root / name).is_dir()]
    if absent := [name for name in _VARIANTS if name not in here]:
        copy.notes.append(f"This copy lacks the variants {', '.join(absent)}.")
    folders = {f"{number:02d}_{name}": name for number, name in enumerate(_NINE)}
    photos = copy.grid("{variant}/val/{class_name}", variant=here, class_name=folders)
    return photos.with_columns(cluster=pl.col("path").str.extract(r"(n\d+_\d+)[^/]*$"))


def imagenet9() -> LayoutBenchmark:
    """ImageNet-9, the backgrounds challenge (Xiao et al. 2020): nine wide classes in eight variants.

    Folders, variants, the gap and how predictions of ImageNet models are mapped: README.md, in9_eval.py,
    challenge_eval.py and tools/ of MadryLab/backgrounds_challenge; names of files: main.py of
    rabbit-abacus/roleofimagebackgrounds; WordNet synsets and how many ImageNet classes each covers: the
    paper's table 4.

    Not verified: which ImageNet classes ``in_to_in9.json`` maps. A copy of it in or beside the folder is
    used. Otherwise the members are those of ``_NINE``, derived from WordNet 3.0: each class's descendants,
    minus those that the table's numbers leave out where a synset has two parents (171 and 172 are also
    racers; 80 to 86 game; dogs and cats domestic animals). They agree with the table, except for wheeled
    vehicles: 44, where it has 42; which two it lacks is not known. Also not verified: the number of photos;
    450 per class and variant is what others report.
    """
    return LayoutBenchmark(
        name="imagenet9",
        description="nine broad classes of ImageNet: foregrounds on other backgrounds, alone, or removed",
        marks=tuple(f"{name}/val" for name in _NEEDED),
        read=_read_nine,
        classes={name: _members(ranges) for name, ranges in _NINE.items()},
        design=Design(
            cells=("class_name", "variant"),
            contrasts=(Contrast.parse("bg_gap: variant=mixed_same - variant=mixed_rand"),),
        ),
        counts={(name, variant): 450 for name in _NINE for variant in _VARIANTS},
        licence="of the photos: ImageNet's terms, non-commercial research; of the variants: not stated",
        homepage="https://github.com/MadryLab/backgrounds_challenge",
        by_hand="Get backgrounds_challenge_data.tar.gz from the releases of MadryLab/backgrounds_challenge.",
        urls=(
            "https://github.com/MadryLab/backgrounds_challenge/releases/download/data/backgrounds_challenge_data.tar.gz",
        ),
    )


_TEN = {  # indices of ImageNet, and the places that are uncommon
    "truck": ("407 555 569 654 675 717 757 779 864 867", "indoors rocks snow water"),
    "car": ("436 468 511 609 627 656 705 734 751 817", "indoors rocks snow water"),
    "plane": ("404 895", "forest indoors rocks sand snow water"),
    "ship": ("403 472 510 554 625 628 693 724 780 814 914", "forest grass indoors rocks sand street snow"),
    "cat": ("281-285", "forest rocks sand snow water"),
    "dog": ("151-268 273-275", "forest rocks snow"),
    "horse": ("339-340", "indoors rocks street snow water"),
    "deer": ("351-353", "indoors rocks sand street snow water"),
    "frog": ("30-32", "indoors street snow"),
    "bird": ("7-24 80-100 127-146", "indoors street snow"),
}
_WEATHERS = frozenset({"foggy", "raining", "snowing"})  # uncommon for all
_ANNOTATIONS = "SELECT file_name, category, time, weather, locations FROM annotations ORDER BY file_name"
# A view may make rows without end.
_NOT_STORED = "SELECT 1 FROM sqlite_master WHERE lower(name) = 'annotations' AND type <> 'table'"
_LONGEST = 2**16  # bytes of a row


def _read_focus(copy: Copy) -> pl.DataFrame:
    file = copy.root / "annotations.db"
    with as_published(file):
        open_regular(file).close()
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as database:
            database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST)
            if database.execute(_NOT_STORED).fetchone():
                raise ValueError("annotations is not a table")
            rows = [_annotated(*values) for values in database.execute(_ANNOTATIONS)]
    return pl.DataFrame(rows, infer_schema_length=None)


def _annotated(file: str, name: str, time: str, weather: str, places: str) -> dict[str, Any]:
    if name not in _TEN or not all(isinstance(value, str) for value in (file, time, weather, places)):
        raise ValueError(f"{file!r} has {(name, time, weather, places)}")
    here = {place.strip() for place in places.split(",")}
    uncommon = {
        "time": None if time == "none" else time == "night" and name != "frog",
        "weather": None if weather == "none" else weather in _WEATHERS,
        "place": None if here == {"none"} else not here.isdisjoint(_TEN[name][1].split()),
    }
    settings = {None: None, True: "uncommon", False: "common"}
    return {
        "path": file.lstrip("/"),
        "class_name": name,
        "background": ", ".join(sorted(here)),  # in whichever order they were noted
        "group": "counter" if any(uncommon.values()) else "common",
        "time": time,
        "weather": weather,
        "uncommon": str(sum(map(bool, uncommon.values()))),
        **{f"{kind}_setting": settings[value] for kind, value in uncommon.items()},
    }


def focus() -> LayoutBenchmark:
    """FOCUS (Kattakinda and Feizi 2022): ten classes at common and uncommon times, weathers and places.

    Annotations, what counts as uncommon, and which ImageNet classes count as which: src/experiments/ of
    priyathamkat/focus (dataset.py, evaluate_model.py); the table of annotations.db: a repository that reads
    it. Not verified: the number of photos (the paper says about 21,000), and the licence of the photos:
    LICENSE.md is the software's.

    The paper reports accuracy by the number of uncommon attributes, and common minus uncommon for each of
    them; "none" counts as neither. Photos with no uncommon attribute are common here, all others counter.
    """
    gaps = (
        Contrast(f"{kind}_gap", f"{kind}_setting=common", f"{kind}_setting=uncommon")
        for kind in ("time", "weather", "place")
    )
    return LayoutBenchmark(
        name="focus",
        description="ten classes in common and uncommon settings (time, weather, place)",
        marks=("annotations.db",),
        read=_read_focus,
        classes={name: _members(ranges) for name, (ranges, _) in _TEN.items()},
        design=Design(contrasts=(DROP, *gaps)),
        licence="of the repository: University of Maryland, non-commercial research; "
        "of the photos: not verified",
        homepage="https://github.com/priyathamkat/focus",
        by_hand="Get focus.zip by the link in the README of priyathamkat/focus.",
    )


_WNIDS = """
n03218198 n02492660 n04162706 n04228054 n04356056 n02807133 n02777292 n03535780 n03899768 n04019541 n03770439
n04264628 n04540053 n09835506 n04251144
"""
_HARD = {wnid: imagenet_wnids().index(wnid) for wnid in _WNIDS.split()}
_PHOTOS = ("val", "HardImageNet_Images/val", "../HardImageNet_Images/val")


def _covered(mask: Image.Image) -> Image.Image:
    """Return the object in white: to its authors, whatever is above 0 in a mask."""
    return mask.convert("L").point(lambda value: 255 * (value > 0))


def _greyed(photo: Image.Image, mask: Path) -> Image.Image:
    covered = _covered(load_photo(mask, rgb=False, whole=True).image)
    (width, height), (across, down) = photo.size, covered.size
    if abs(width * down - height * across) > max(width * down, height * across) / 100:
        raise CounterGroundError(f"{mask} has {covered.size} pixels, and its photo {photo.size}.")
    covered = covered.resize(photo.size, Image.Resampling.NEAREST)
    return Image.composite(Image.new("RGB", photo.size, (128, 128, 128)), photo, covered)


def _read_hard(copy: Copy) -> pl.DataFrame:
    wnids = list(_HARD)
    photos = next((copy.root / name for name in _PHOTOS if (copy.root / name / wnids[0]).is_dir()), None)
    if photos is None:
        raise CounterGroundError(
            f"{copy.root} has masks but no photos: put ImageNet's validation folders, {wnids[0]} and so on, "
            "or HardImageNet_Images beside them."
        )
    rows: list[dict[str, str]] = []
    made: dict[str, tuple[Path, Change]] = {}
    for file in copy.entries("val"):
        mask = copy.root / "val" / file
        if mask.is_dir():
            continue
        wnid, _, name = file.partition("_")
        if wnid not in _HARD:
            raise CounterGroundError(f"{mask} is not the mask of one of the 15 classes.")
        source, stem = photos / wnid / name, Path(name).stem
        kept, removed, drawn = (
            f"kept/{wnid}/{name}",
            f"removed/{wnid}/{stem}.png",
            f"objects/{wnid}/{stem}.png",
        )
        made |= {
            kept: (source, None),
            drawn: (mask, _covered),
            removed: (source, partial(_greyed, mask=mask)),
        }
        about = {"class_name": imagenet_names()[_HARD[wnid]], "cluster": stem, "mask": drawn}
        rows += [{"path": kept, "object": "kept"} | about, {"path": removed, "object": "removed"} | about]
    copy.make(made)
    return pl.DataFrame(rows)


def hard_imagenet() -> LayoutBenchmark:
    """Hard ImageNet (Moayeri et al. 2022): 15 classes with strong spurious cues, and masks of their objects.

    Masks and photos: datasets/hard_imagenet.py of mmoayeri/HardImageNet; removing the object: ablations.py
    there; 750 photos: its index.html; licence: the paper's page on OpenReview; classes by WordNet id: the
    LANCE authors' reader.

    The field removes the object: the accuracy that remains comes from the rest. Here each photo appears as it
    is and with its object grey (128), made before any resizing, whereas theirs is made after it. A small drop
    is the bad result.
    """
    return LayoutBenchmark(
        name="hard-imagenet",
        description="15 ImageNet classes with strong spurious cues, with and without the object",
        marks=("val", "meta"),
        read=_read_hard,
        classes={imagenet_names()[index]: (index,) for index in _HARD.values()},
        design=Design(
            cells=("class_name", "object"),
            contrasts=(Contrast.parse("ablation: object=kept - object=removed"),),
        ),
        n_photos=1500,
        licence="of the masks: CC0; of the photos: ImageNet's terms, non-commercial research",
        homepage="https://mmoayeri.github.io/HardImageNet",
        by_hand="Get hardImageNet.zip, and HardImageNet_Images or ImageNet's validation photos, by its page.",
        makes=True,
    )


_BORDER = 2


def _uncovered(photo: Image.Image) -> Image.Image:
    if min(photo.size) <= 2 * _BORDER:
        raise ValueError("it is smaller than its border")
    return ImageOps.crop(photo, _BORDER)


def _objectnet_classes(mappings: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return name and ImageNet-1K indices of each folder that ImageNet has a class for."""
    labels = read_json(mappings / "folder_to_objectnet_label.json")
    folders = {label: folder for folder, label in labels.items()}
    lines = read_text(mappings / "imagenet_to_label_2012_v2").splitlines()
    indices: dict[str, list[int]] = defaultdict(list)
    for index, line in read_json(mappings / "pytorch_to_imagenet_2012_id.json").items():
        indices[lines[line].strip()].append(int(index))
    found = {}
    for label, names in read_json(mappings / "objectnet_to_imagenet_1k.json").items():
        members = [index for name in names.split("; ") for (index,) in (indices[name],)]
        found[folders[label]] = (label.lower(), tuple(sorted(members)))
    return found


def _read_objectnet(copy: Copy) -> pl.DataFrame:
    with as_published(copy.root / "mappings"):
        mapping = _objectnet_classes(copy.root / "mappings")
    if len(mapping) != 113:
        copy.notes.append(
            f"The mappings of this copy share {len(mapping)} classes with ImageNet; 113 were published."
        )
    copy.classes = dict(sorted(mapping.values()))
    names = {folder: name for folder, (name, _) in mapping.items()}
    photos = copy.grid("images/{class_name}", class_name=names)
    made = {path: f"{Path(path).with_suffix('.png')}" for path in photos["path"]}
    copy.make({to: (copy.root / path, _uncovered) for path, to in made.items()})
    return photos.with_columns(pl.col("path").replace_strict(made))


def objectnet() -> LayoutBenchmark:
    """ObjectNet (Barbu et al. 2019): objects in unusual places and views; 113 classes are in ImageNet, too.

    Folders and mappings: the readers of model-soups (also in facebookresearch/Whac-A-Mole,
    dataset/objectnet.py) and of imagenet-testbed; the red border of 2 pixels, which is cut off:
    objectnet_pytorch_dataloader.py of abarbu/objectnet-template-pytorch; licence: the data set card of
    timm/objectnet. Not verified: the number of photos.

    The field reports the accuracy: there are no groups. Cropped photos are written to the cache, which takes
    as much space again.
    """
    return LayoutBenchmark(
        name="objectnet",
        description="objects of 113 ImageNet classes in unusual places, from unusual viewpoints",
        marks=("images", "mappings"),
        read=_read_objectnet,
        classes=(),
        design=Design(cells=("class_name",)),
        licence="CC BY 4.0 and: never used to tune a model; photos put on the web only with their red border",
        homepage="https://objectnet.dev",
        by_hand="Get objectnet-1.0.zip from objectnet.dev and unpack it with the password given there.",
        makes=True,
    )
