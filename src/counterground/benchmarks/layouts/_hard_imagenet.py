"""Hard ImageNet (Moayeri et al. 2022): 15 classes with strong spurious cues, and masks of their objects.

Masks and photos: datasets/hard_imagenet.py of mmoayeri/HardImageNet; removing the object: ablations.py there;
750 photos: its index.html; licence: the paper's page on OpenReview; classes by WordNet id: the LANCE authors'
reader.

The field removes the object: the accuracy that remains comes from the rest. Here each photo appears as it is
and with its object grey (128), made before any resizing, whereas theirs is made after it. A small drop is the
bad result.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import polars as pl
from PIL import Image

from counterground.benchmarks._layout import Change, Copy, LayoutBenchmark
from counterground.errors import CounterGroundError
from counterground.metrics import Contrast, Design
from counterground.photos import imagenet_names, imagenet_wnids, load_photo

_WNIDS = """
n03218198 n02492660 n04162706 n04228054 n04356056 n02807133 n02777292 n03535780 n03899768 n04019541 n03770439
n04264628 n04540053 n09835506 n04251144
"""
_CLASSES = tuple(_WNIDS.split())
_INDICES = {wnid: imagenet_wnids().index(wnid) for wnid in _CLASSES}
_NAMES = {wnid: imagenet_names("openai")[index] for wnid, index in _INDICES.items()}
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


def _read(copy: Copy) -> pl.DataFrame:
    folders = [copy.root / name for name in _PHOTOS]
    photos = next((folder for folder in folders if (folder / _CLASSES[0]).is_dir()), None)
    if photos is None:
        raise CounterGroundError(
            f"{copy.root} has masks but no photos: put ImageNet's validation folders, {_CLASSES[0]} and so "
            "on, or HardImageNet_Images beside them."
        )
    rows: list[dict[str, str]] = []
    made: dict[str, tuple[Path, Change, *tuple[Path, ...]]] = {}
    for file in copy.entries("val"):
        mask = copy.root / "val" / file
        if mask.is_dir():
            continue
        wnid, _, name = file.partition("_")
        if wnid not in _NAMES:
            raise CounterGroundError(f"{mask} is not the mask of one of the 15 classes.")
        source, stem = photos / wnid / name, Path(name).stem
        kept, removed = f"kept/{wnid}/{name}", f"removed/{wnid}/{stem}.png"
        drawn = f"objects/{wnid}/{stem}.png"
        made |= {kept: (source, None), drawn: (mask, _covered)}
        made[removed] = (source, partial(_greyed, mask=mask), mask)
        about = {"class_name": _NAMES[wnid], "cluster": stem, "mask": drawn}
        rows += [{"path": kept, "object": "kept"} | about, {"path": removed, "object": "removed"} | about]
    copy.make(made)
    return pl.DataFrame(rows)


HARD_IMAGENET = LayoutBenchmark(
    name="hard-imagenet",
    description="15 ImageNet classes with strong spurious cues, with and without the object",
    marks=("val", "meta"),
    read=_read,
    classes={_NAMES[wnid]: (index,) for wnid, index in _INDICES.items()},
    design=Design(
        cells=("class_name", "object"),
        contrasts=(Contrast.parse("ablation: object=kept - object=removed"),),
    ),
    n_photos=1500,
    licence="of the masks: CC0; of the photos: ImageNet's terms, non-commercial research",
    homepage="https://mmoayeri.github.io/HardImageNet",
    by_hand="Get hardImageNet.zip, and HardImageNet_Images or ImageNet's validation photos, by its page.",
    cite=("moayeri2022hardimagenet", "deng2009imagenet"),
    makes=True,
).built_in()
