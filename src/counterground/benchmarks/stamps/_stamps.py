"""The ``stamps`` benchmarks: photographic animal cut-outs on background photographs, built in seconds.

The same settings, packages and Pillow version give the same bytes: every draw is keyed by what it decides,
photos are written in a fixed order of content, and the folder appears in one rename.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import PIL
import polars as pl

from counterground.benchmarks._builtin import BuiltInBenchmark
from counterground.benchmarks.stamps._photographs import (
    CUTOUT_LICENCE,
    LABELS,
    STAMPS_PACKAGE,
    Background,
    Cutout,
    background_rows,
    composite,
    load_backgrounds,
    load_cutouts,
    package_records,
)
from counterground.errors import CounterGroundError, UsageError, did_you_mean
from counterground.files import cache_dir, draft_folder, place_once, write_bytes
from counterground.photos import MANIFEST_SCHEMA, Benchmark, LabelSpace, read_benchmark, write_benchmark
from counterground.progress import progress_bar
from counterground.settings import Help, Record
from counterground.text import counted

Progress = Callable[[int, int], None]
_VERSION = 2  # raise it when the same settings would give other photos or notes
_SIZE = 256  # pixels of a side
_SCALE = (0.5, 0.8)  # range of a cut-out's longer side, as a fraction of the photo's
_JPEG = {"quality": 95, "subsampling": 0}  # colour at full resolution: cut-outs have sharp coloured edges
_ON = " on {}"  # between a cut-out and its background, in the source of a photo


@dataclass(frozen=True)
class Placement:
    """One photo to be made: cut-out, background, and how the first lies on the second."""

    cutout: Cutout
    background: Background
    crop: float
    scale: float
    center: tuple[float, float]
    flip: bool


def draw_placements(
    cutouts: Sequence[Cutout], backgrounds: Sequence[Background], *, per_label: int, seed: int
) -> list[Placement]:
    """Return every cut-out once on each of ``per_label`` photographs of every label.

    Args:
        cutouts: what is placed.
        backgrounds: what it is placed on; rectangles of one photograph and label count as one choice.
        per_label: photographs per cut-out and label.
        seed: the same seed, cut-out, label and turn give the same placement, whatever else is requested.

    Raises:
        UsageError: a label has fewer than ``per_label`` photographs.
    """
    by_label: dict[str, dict[str, list[Background]]] = defaultdict(lambda: defaultdict(list))
    for background in sorted(backgrounds, key=lambda b: b.file):
        by_label[background.label][background.cluster].append(background)
    for label, photographs in by_label.items():
        if len(photographs) < per_label:
            raise UsageError(
                f"per_label={per_label} needs {per_label} photographs of {label!r}, "
                f"and there are {len(photographs)}; ask for fewer or leave {label!r} out."
            )
    drawn = []
    for cutout in cutouts:
        for label in sorted(by_label):
            photographs = by_label[label]
            names = sorted(photographs)
            order = _generator(seed, cutout.path_in_package, label).permutation(len(names))
            for turn in range(per_label):
                rng = _generator(seed, cutout.path_in_package, label, turn)
                choices = photographs[names[order[turn]]]
                background = choices[int(rng.integers(len(choices)))]
                drawn.append(_place(cutout, background, rng))
    return drawn


def _place(cutout: Cutout, background: Background, rng: np.random.Generator) -> Placement:
    longer = float(rng.uniform(*_SCALE))
    half = [longer * side / max(cutout.image.size) / 2 for side in cutout.image.size]
    return Placement(
        cutout=cutout,
        background=background,
        crop=float(rng.uniform()),
        scale=longer,
        center=(float(rng.uniform(half[0], 1 - half[0])), float(rng.uniform(half[1], 1 - half[1]))),
        flip=bool(rng.integers(2)),
    )


def _generator(*key: object) -> np.random.Generator:
    digest = hashlib.sha256("\x1f".join(map(str, key)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


@dataclass(frozen=True)
class StampsSettings(Record):
    """What decides every byte of a ``stamps`` benchmark, besides the packages and Pillow's version.

    Every cut-out is placed on ``per_label`` photographs of each label. ``classes`` are OpenAI's ImageNet
    names, None for all 45; ``reserved`` leaves out the photographs that the shipped CLIPs were trained on.

    Raises:
        UsageError: no photograph.
    """

    seed: int = 0
    labels: tuple[str, ...] = LABELS
    per_label: Annotated[int, Help("", least=1)] = 12
    classes: tuple[str, ...] | None = None
    reserved: bool = False

    def record(self) -> dict[str, Any]:
        """Return the settings as JSON types."""
        return json.loads(json.dumps({"version": _VERSION, **asdict(self)}))  # type: ignore[no-any-return]


def stamps_folder(settings: StampsSettings) -> Path:
    """Return where the benchmark of these settings lies in the cache, built or not."""
    key = hashlib.sha256(json.dumps(settings.record(), sort_keys=True).encode()).hexdigest()
    return cache_dir() / "benchmarks" / f"stamps-{settings.seed}-{key[:10]}"


def build_stamps(
    settings: StampsSettings | None = None,
    *,
    packages: Path | str | None = None,
    out: Path | str | None = None,
    progress: Progress | None = None,
) -> Benchmark:
    """Return the benchmark of these settings; build it if it does not exist yet.

    Args:
        settings: defaults give 51 cut-outs x 6 backgrounds x 12 photographs = 3,672 photos.
        packages: folder with the ``.deb`` files, if there is no apt.
        out: folder of the benchmark; by default one in the cache.
        progress: called with (photos done, photos in all).

    Raises:
        CounterGroundError: packages cannot be fetched or read, ``out`` holds something else or cannot be
            written, or holds a benchmark of other settings or package versions.
        UsageError: unknown class or label, or too few photographs of a label.
    """
    settings = settings or StampsSettings()
    # A misspelt label must not cost a download first.
    background_rows(settings.labels, reserved=settings.reserved)
    folder = stamps_folder(settings) if out is None else Path(out)
    packages = None if packages is None else Path(packages)
    if (folder / "provenance.json").is_file():
        return _open_built(folder, settings, packages)
    if folder.is_dir() and any(folder.iterdir()):
        raise CounterGroundError(f"{folder} holds other files; choose an empty or a new folder.")
    try:
        with draft_folder(folder) as draft:
            _build(draft, settings, packages, progress)
            place_once(draft, folder)
    except OSError as error:
        raise CounterGroundError(
            f"Cannot write {folder}: {error.strerror or error}. Free some space or choose another folder."
        ) from error
    return read_benchmark(folder)


def _open_built(folder: Path, settings: StampsSettings, packages: Path | None) -> Benchmark:
    try:
        provenance = json.loads((folder / "provenance.json").read_text())
        same = provenance["settings"] == settings.record() and (
            packages is None or provenance["packages"] == _records(settings, packages)
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CounterGroundError(f"{folder} is damaged; delete it to build it again.") from error
    if not same:
        raise CounterGroundError(
            f"{folder} was built with other settings or other versions of the packages: delete it, or choose "
            "another folder."
        )
    return read_benchmark(folder)


def _build(draft: Path, settings: StampsSettings, packages: Path | None, progress: Progress | None) -> None:
    cutouts = load_cutouts(packages)
    classes = _classes_of({cutout.imagenet_index: cutout.class_name for cutout in cutouts})
    if settings.classes is not None:
        for name in settings.classes:
            if name not in classes.names:
                raise UsageError(f"stamps has no class {name!r}.{did_you_mean(name, classes.names)}")
        cutouts = [cutout for cutout in cutouts if cutout.class_name in settings.classes]
        classes = _classes_of({cutout.imagenet_index: cutout.class_name for cutout in cutouts})
    backgrounds = load_backgrounds(packages, labels=settings.labels, reserved=settings.reserved)
    placements = draw_placements(cutouts, backgrounds, per_label=settings.per_label, seed=settings.seed)
    rows = _write_photos(placements, draft, classes, progress)
    frame = pl.DataFrame(rows, schema=MANIFEST_SCHEMA).sort("path")
    notes = _notes(cutouts, settings)
    name = RESERVED.name if settings.reserved else STAMPS.name
    write_benchmark(Benchmark(name, draft, frame, classes, notes), draft)
    provenance = {
        "settings": settings.record(),
        "packages": _records(settings, packages),
        "pillow": PIL.__version__,
    }
    (draft / "provenance.json").write_text(json.dumps(provenance, indent=1) + "\n")


def _records(settings: StampsSettings, packages: Path | None) -> list[dict[str, str]]:
    rows = background_rows(settings.labels, reserved=settings.reserved)
    return package_records({row["package"] for row in rows}, packages)


def _classes_of(classes: dict[int, str]) -> LabelSpace:
    indices = sorted(classes)
    return LabelSpace("stamps", tuple(classes[index] for index in indices), tuple(indices))


def _notes(cutouts: Sequence[Cutout], settings: StampsSettings) -> tuple[str, ...]:
    # A benchmark of some of the photos inherits these sentences, so they must hold for any of the photos.
    classes = counted(len({cutout.class_name for cutout in cutouts}), "class")
    conditional = (
        f"Results are conditional on the cut-outs: version {_VERSION} of stamps, which these photos come "
        f"from, was made from {counted(len(cutouts), 'cut-out')} of {classes}; the cluster of the intervals "
        "is the background photograph."
    )
    composites = (
        f"Photos are composites, made at {_SIZE} px with seed {settings.seed}: "
        "use these drops to compare models, not to predict drops on real photos."
    )
    return conditional, composites


def _write_photos(
    placements: list[Placement], root: Path, labels: LabelSpace, progress: Progress | None
) -> list[dict[str, Any]]:
    """Write every photo and mask under ``root``; return their manifest rows."""
    index_of = {name: index for index, name in enumerate(labels.names)}
    rows = []
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        jobs = [pool.submit(_write_photo, p, root, index_of[p.cutout.class_name]) for p in placements]
        try:
            for done, job in enumerate(jobs, 1):
                rows.append(job.result())
                if progress is not None:
                    progress(done, len(jobs))
        finally:
            pool.shutdown(cancel_futures=True)
    return rows


def cutouts_shown(photos: pl.DataFrame) -> pl.Series | None:
    """Return the cut-out that each photo of a manifest shows, None unless all are photos of ``stamps``."""
    shown = photos.select(
        pl.when(
            pl.col("source").str.starts_with(f"{STAMPS_PACKAGE}:"),
            pl.col("source").str.ends_with(pl.format(_ON, "cluster")),
        ).then(pl.col("source").str.strip_suffix(pl.format(_ON, "cluster")))
    )["source"]
    return None if shown.null_count() else shown


def _write_photo(placement: Placement, root: Path, class_index: int) -> dict[str, Any]:
    cutout, background = placement.cutout, placement.background
    photo, mask = composite(
        cutout.image,
        background.crop(placement.crop),
        size=_SIZE,
        scale=placement.scale,
        center=placement.center,
        flip=placement.flip,
    )
    folder = f"{cutout.imagenet_index:03d} {cutout.class_name}/{background.label}"
    stem = f"{cutout.stem}-{Path(background.file).stem}"
    path, mask_path = f"photos/{folder}/{stem}.jpg", f"masks/{folder}/{stem}.png"
    encoded = io.BytesIO()
    photo.save(encoded, "JPEG", **_JPEG)
    write_bytes(root / path, encoded.getvalue(), sync=False)
    drawn = io.BytesIO()
    mask.save(drawn, "PNG")
    write_bytes(root / mask_path, drawn.getvalue(), sync=False)
    return {
        "path": path,
        "photo_id": hashlib.sha256(encoded.getvalue()).hexdigest(),
        "class_index": class_index,
        "class_name": cutout.class_name,
        "background": background.label,
        "group": None,
        "cluster": background.cluster,
        "mask": mask_path,
        "licence": f"{CUTOUT_LICENCE} (cut-out); {background.licence} (background)",
        "source": f"{STAMPS_PACKAGE}:{cutout.path_in_package}{_ON.format(background.cluster)}",
    }


def _built_in(name: str, photographs: int, n_photos: int, **choices: Any) -> BuiltInBenchmark:
    def settings() -> StampsSettings:
        return StampsSettings(**choices)

    def is_ready() -> bool:
        return (stamps_folder(settings()) / "provenance.json").is_file()

    def get(packages: Path | None, show_progress: bool) -> Benchmark:
        with progress_bar(f"Building {name}", "photos", shown=show_progress and not is_ready()) as bar:
            return build_stamps(settings(), packages=packages, progress=bar.update)

    return BuiltInBenchmark(
        name=name,
        description=f"45 ImageNet classes: 51 cut-outs on {photographs} photographs of 6 backgrounds",
        n_photos=n_photos,
        folder=lambda: stamps_folder(settings()),
        is_ready=is_ready,
        get=get,
        source="packages",
        on_demand=True,
    )


STAMPS = _built_in("stamps", 95, 3672)
RESERVED = _built_in("stamps-reserved", 49, 1836, per_label=6, reserved=True)
"""On the photographs that the shipped CLIPs were not trained on."""
