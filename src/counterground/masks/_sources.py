"""Masks that exist, found by the names of photos, and masks from boxes: the box, or GrabCut in it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from counterground.errors import UsageError, did_you_mean, needs_extra
from counterground.photos import Benchmark, UnreadablePhoto, load_photo, name_key
from counterground.settings import MaskSettings
from counterground.text import and_more, counted

_NAMED = 3


def manifest_mask(photo: MaskRequest) -> Found:
    """Return the mask that the manifest names."""
    return Found(None, "missing") if photo.mask is None else read_mask(photo.mask, photo.size)


def alpha_of(photo: MaskRequest) -> Found:
    """Return the alpha channel of a photo."""
    image = load_photo(photo.file, rgb=False).image
    return Found(_alpha(image)) if image.has_transparency_data else Found(None, "missing")


def _alpha(image: Image.Image) -> Mask:
    return np.asarray(image.convert("RGBA").getchannel("A"))


def folder_source(folder: Path, benchmark: Benchmark) -> MaskSource:
    """Return the source of masks that are a folder's PNGs, named after the photos.

    The mask of ``ox/grass/a.jpg`` is ``ox/grass/a.jpg.png``, else ``ox/grass/a.png``, else the same below
    ``grass``, or without folders. A name that may mean several masks, or several photos, is ambiguous.

    Raises:
        UsageError: the folder has no PNG, or none with the name of a photo.
    """
    photos = benchmark.photos["path"].to_list()
    own = {benchmark.photo_path(path).resolve() for path in photos}
    files = [
        file
        for file in sorted(folder.rglob("*"))
        if file.suffix.lower() == ".png" and file.is_file() and file.resolve() not in own
    ]
    if not files:
        raise UsageError(f"{folder} has no PNG: name a folder of masks.")
    by_name = defaultdict(list)
    for file in files:
        by_name[file.relative_to(folder).as_posix()[: -len(file.suffix)]].append(file)
    matched = NameMatch(photos, by_name, stems=True)
    if not matched.claims:
        raise UsageError(
            f"No PNG of {folder} has the name of a photo: {files[0].relative_to(folder).as_posix()!r} is not "
            f"{photos[0]!r}. A mask has the photo's name, with or without its suffix, and .png."
        )

    def find(photo: MaskRequest) -> Found:
        found = matched.one(photo.path, "PNG")
        return found if isinstance(found, Found) else read_mask(found, photo.size)

    unused = [file.relative_to(folder).as_posix() for file in files if file not in matched.claims]
    note = f"{counted(len(unused), 'PNG')} with the name of no photo: {and_more(unused, _NAMED)}."
    return MaskSource("folder", find, notes=(note,) if unused else ())


T = TypeVar("T", bound=Hashable)

Mask = npt.NDArray[np.uint8]
"""``[h, w]``, 0 to 255: how much of each pixel belongs to the object."""

Box = tuple[float, float, float, float]
"""Left and upper edge, width and height in pixels."""

OBJECT = 128
"""From this value on, a pixel counts as the object's."""

REASONS = {
    "missing": "there is no mask of the photo",
    "ambiguous": "several files may be the mask of the photo, or several photos share one",
    "unreadable": "the photo or its mask cannot be read",
    "wrong size": "mask and photo differ in size",
    "empty": "the mask marks no object",
    "full": "the mask marks every pixel",
    "other category": "only objects of other categories are annotated or found",
    "crowd only": "the class is annotated as a crowd only, without single objects",
    "incomplete": "an object of the class has no outline",
    "no box": "the box of the object, or of one of several, is not known",
    "too small": "the object's area is below the limit",
    "too large": "the object's area is above the limit",
    "touches edges": "the object touches more sides of the photo than the limit",
    "many parts": "the object has more separate parts than the limit",
    "holes": "the object's holes are larger than the limit",
    "box disagrees": "the object's bounding box agrees too little with its known box",
    "photo changed": "the photo has changed since its manifest was written",
    "rejected": "rejected in review",
}
"""Why a photo has no usable mask: what ``masks.csv`` says, and what it means."""

NO_OBJECT = ("empty", "full")
"""Reasons that no review removes: the mask has no object, or no background."""


class Found(NamedTuple):
    """The mask of a photo, in the photo's size, or None and a key of ``REASONS``; ``detail`` in words."""

    mask: Mask | None
    reason: str = ""
    detail: str = ""


class MaskRequest(NamedTuple):
    """A photo that needs a mask.

    Attributes:
        path: path in the manifest.
        file: file on disk.
        class_name: its class.
        mask: the manifest's own mask.
        size: width and height in pixels.
        boxes: the boxes of its object, empty if none is known.
    """

    path: str
    file: Path
    class_name: str
    mask: Path | None
    size: tuple[int, int]
    boxes: tuple[Box, ...] = ()


class Weights(NamedTuple):
    """A weight file.

    Attributes:
        name: the source it belongs to, as in ``rembg:u2net``.
        licence: its name, which must be accepted to use the weights.
        about: in sentences: its terms, who made it from what, where the licence was read.
    """

    name: str
    licence: str
    about: str


@dataclass(frozen=True)
class MaskSource:
    """Where masks come from.

    Attributes:
        origin: what ``masks.csv`` calls it.
        find: function that finds the mask of one photo, or raises `UnreadablePhoto`; called from one thread
            unless ``slow`` is False.
        slow: whether results are worth keeping: existing masks are then not regenerated.
        rough: whether its masks are approximations that need review.
        needs_boxes: whether it finds nothing in photos of objects without known boxes.
        record: what else decides the masks: versions and hashes, as JSON types.
        notes: sentences on what was read.
        weights: weights of a model.
    """

    origin: str
    find: Callable[[MaskRequest], Found]
    slow: bool = False
    rough: bool = False
    needs_boxes: bool = False
    record: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()
    weights: Weights | None = None


def read_image(
    file: Path, size: tuple[int, int], *, rgb: bool = True, whole: bool = False
) -> Image.Image | Found:
    """Read an image of a photo's size (see `load_photo`), or return why it cannot be used."""
    try:
        image = load_photo(file, rgb=rgb, whole=whole).image
    except UnreadablePhoto as error:
        reason = "missing" if error.reason == "missing" else "unreadable"
        return Found(None, reason, f"{file.name}: {error.reason}")
    if image.size != size:
        there, wanted = (f"{width} x {height}" for width, height in (image.size, size))
        return Found(None, "wrong size", f"{file.name} has {there} pixels, the photo {wanted}")
    return image


def read_mask(file: Path, size: tuple[int, int]) -> Found:
    """Read a mask file: what is opaque if it has alpha, else what is white.

    ``size`` is the photo's width and height in pixels. A file that cannot be used gives a reason, no error.
    """
    image = read_image(file, size, rgb=False, whole=True)
    if isinstance(image, Found):
        return image
    if image.has_transparency_data:
        return Found(_alpha(image))
    colours = np.asarray(image.convert("RGB")) if image.mode in ("1", "L", "P", "RGB") else None
    if colours is None or (colours != colours[..., :1]).any():
        return Found(None, "unreadable", f"{file.name}: a mask is 8-bit grey (white is object) or has alpha")
    mask = np.ascontiguousarray(colours[..., 0])
    if 0 < mask.max() < OBJECT:
        detail = f"the brightest value of {file.name} is {mask.max()} of 255: white is object"
        return Found(mask, "empty", detail)
    return Found(mask)


class NameMatch(Generic[T]):
    """The entries whose names are those of photos.

    The name of ``ox/grass/a.jpg`` is that, else ``grass/a.jpg``, else ``a.jpg``: the longest that an entry
    has. With ``stems``, a name may lack the suffix.

    Args:
        paths: paths of the photos.
        names: entries with each name.
        stems: whether names may lack the suffix.
    """

    def __init__(self, paths: Sequence[str], names: Mapping[str, Sequence[T]], *, stems: bool) -> None:
        self._found = {path: _longest(path, names, stems=stems) for path in paths}
        self.claims = Counter(entry for found in self._found.values() for entry in found)

    def one(self, path: str, what: str) -> T | Found:
        """Return the one entry of a photo, or why there is none; ``what`` names an entry in messages."""
        found = self._found[path]
        if not found:
            return Found(None, "missing", f"no {what} has the name of the photo")
        if len(found) > 1:
            return Found(None, "ambiguous", f"{counted(len(found), what)} have the name of the photo")
        if self.claims[found[0]] > 1:
            photos = counted(self.claims[found[0]], "photo")
            return Found(None, "ambiguous", f"{photos} have the name of one {what}")
        return found[0]


def _longest(path: str, names: Mapping[str, Sequence[T]], *, stems: bool) -> Sequence[T]:
    parts = PurePosixPath(path).parts
    for start in range(len(parts)):
        tail = PurePosixPath(*parts[start:])
        for wanted in (str(tail), str(tail.with_suffix(""))) if stems else (str(tail),):
            if wanted in names:
                return names[wanted]
    return ()


def of_classes(
    source: Path | str, noun: str, names: Mapping[T, str], classes: Sequence[str], called: Mapping[str, str]
) -> dict[str, frozenset[T]]:
    """Return the entries of each class: those with its own name, or with the name given for it.

    Args:
        source: what has the entries, for messages.
        noun: what an entry is called.
        names: the name of each entry.
        classes: names of the photos' classes, sorted.
        called: for a class, the name that the source calls it.

    Raises:
        UsageError: ``called`` names no class or no entry, or no entry is a class.
    """
    by_key: dict[str, set[T]] = defaultdict(set)
    for entry, name in names.items():
        by_key[name_key(name)].add(entry)
    for name, wanted in called.items():
        if name not in classes:
            raise UsageError(f"There is no class {name!r}.{did_you_mean(name, classes)}")
        if name_key(wanted) not in by_key:
            raise UsageError(f"{source} has no {noun} {wanted!r}.{did_you_mean(wanted, names.values())}")
    found = {name: frozenset(by_key.get(name_key(called.get(name, name)), ())) for name in classes}
    if not any(found.values()):
        raise UsageError(
            f"No {noun} of {source} is a class of the photos ({classes[0]!r}, ...): say which is, with "
            f"--category CLASS={noun.upper()}."
        )
    return found


_Inside = npt.NDArray[np.bool_]
_ITERATIONS = 5
_SIDE = 640  # a larger photo is segmented at this side


def box_mask(photo: MaskRequest) -> Found:
    """Return the boxes of the object."""
    inside = _rectangles(photo.boxes, photo.size)
    return Found(inside.astype(np.uint8) * 255) if inside.any() else Found(None, "no box")


def grabcut_source(settings: MaskSettings) -> MaskSource:
    """Return the source of masks that GrabCut finds in the boxes.

    GrabCut (Rother, Kolmogorov and Blake 2004) separates the object's colours from those around its box. It
    knows nothing about objects: the masks are rough.

    Raises:
        MissingExtraError: OpenCV is not installed.
    """
    with needs_extra("masks"):
        import cv2

    def find(photo: MaskRequest) -> Found:
        (width, height), margin = photo.size, settings.inset
        boxes = photo.boxes
        if not boxes and margin is not None:
            boxes = ((margin * width, margin * height, (1 - 2 * margin) * width, (1 - 2 * margin) * height),)
        return _cut(load_photo(photo.file).image, boxes)

    return MaskSource(
        "grabcut",
        find,
        slow=True,
        rough=True,
        needs_boxes=settings.inset is None,
        record={"opencv": cv2.__version__},
    )


def _cut(image: Image.Image, boxes: Sequence[Box]) -> Found:
    factor = min(1.0, _SIDE / max(image.size))
    width, height = (max(1, round(side * factor)) for side in image.size)
    small = image if factor == 1 else image.resize((width, height), Image.Resampling.LANCZOS)
    scaled = [tuple(factor * edge for edge in box) for box in boxes]
    around = _rectangles(scaled, small.size)
    if not around.any() or around.all():  # else nothing is known to be background
        return Found(None, "no box")
    mask = _grabcut(np.asarray(small), around).astype(np.uint8) * 255
    if factor < 1:
        mask = np.asarray(Image.fromarray(mask).resize(image.size, Image.Resampling.BILINEAR))
    return Found(mask)


def _grabcut(colours: npt.NDArray[np.uint8], around: _Inside) -> _Inside:
    """Return what GrabCut takes for the object inside the boxes."""
    import cv2

    cv2.setRNGSeed(0)  # for this thread: GrabCut's colour clusters start at random
    state = np.where(around, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))  # Gaussian mixtures, filled by GrabCut
    bgr = np.ascontiguousarray(colours[..., ::-1])
    cv2.grabCut(bgr, state, (0, 0, 1, 1), background, foreground, _ITERATIONS, cv2.GC_INIT_WITH_MASK)
    return np.isin(state, (cv2.GC_FGD, cv2.GC_PR_FGD))


def _rectangles(boxes: Sequence[Sequence[float]], size: tuple[int, int]) -> _Inside:
    """Return the pixels ``[h, w]`` whose centres lie in one of the boxes."""
    across, down = (np.arange(side) + 0.5 for side in size)
    drawn = np.zeros(size[::-1], bool)
    for left, top, width, height in boxes:
        columns = (across >= left) & (across < left + width)
        rows = (down >= top) & (down < top + height)
        drawn |= rows[:, None] & columns[None, :]
    return drawn
