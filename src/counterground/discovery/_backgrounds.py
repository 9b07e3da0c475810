"""Backgrounds that nobody named: groups of photos, what they follow, and the words for them."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image

from counterground.catalogue import Finding
from counterground.composites import without_objects
from counterground.discovery._groups import Grouping, association, group_backgrounds
from counterground.errors import UsageError
from counterground.files import cache_dir, read_text
from counterground.inference import choose_runtime, encode_photos
from counterground.metrics import Design, attributes, cluster_columns
from counterground.models import NamedModel, load_middle_layers
from counterground.photos import Benchmark
from counterground.settings import DiscoverSettings
from counterground.text import and_more, counted

ENCODERS = ("efficientnet-lite2", "efficientnet-lite1")
NOT_A_BACKGROUND = "not a background"
_FOLLOWS = 0.25
_CLASS = "the class"
_UNDECIDED = (
    "Whether the pairs exceed chance cannot be told: no scene is shown twice, and no column says which "
    "photos share a camera, an observer or a place: ?cluster=COLUMN; ?cluster=path if they are independent."
)


@dataclass(frozen=True)
class FoundBackgrounds:
    """Photos with backgrounds that were found.

    Attributes:
        benchmark: the photos; ``background`` is the word for a group, or its name; clusters are scenes if
            none were given.
        shown: the photos as the encoder saw them.
        groups: ``path, name, key, scene, distance, chooses``; see `Grouping`. A key is of a group's photos.
        halves: ``path, chooses``; None if a column of others is tested.
        findings: what the groups follow.
        notes: what outputs must say.
        refusal: why nothing may be concluded; empty if something may.
    """

    benchmark: Benchmark
    shown: Benchmark
    groups: pl.DataFrame
    halves: pl.DataFrame | None
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    refusal: str = ""


def find_backgrounds(
    benchmark: Benchmark, referees: Sequence[NamedModel], settings: DiscoverSettings
) -> FoundBackgrounds:
    """Group photos by what an encoder sees in the middle of its network; see `group_backgrounds`.

    If photos have masks and ``settings.masks`` is given, it sees them without their objects.

    Raises:
        UsageError: the encoder is a referee, or words for other groups.
        CounterGroundError: see `load_middle_layers` and `encode_photos`.
    """
    specs = [each.spec for each in referees]
    spec = settings.encoder or next(each for each in ENCODERS if each not in specs)
    if spec in specs:
        raise UsageError(f"--encoder {spec} is the referee: groups must not come from what it sees.")
    shown, notes = without_objects(benchmark) if settings.masks else (benchmark, [])
    readable, features = _seen(shown, spec, settings)
    (first, *_) = benchmark.design.clusters
    photos = shown.photos.filter(readable)
    given = photos[first].is_not_null().any()
    clusters = (
        cluster_columns(photos, Design(clusters=(first,)))["cluster"] if given else [None] * len(photos)
    )
    photos = photos.with_columns(pl.Series("cluster", clusters, dtype=pl.String, strict=False))
    found = group_backgrounds(photos, features, most=settings.groups, seed=settings.seed)
    frame, about = _named(photos, found, settings)
    notes += [
        f"Backgrounds are {frame['name'].drop_nulls().n_unique()} groups that {spec} sees, not labels.",
        *about,
    ]
    columns = frame.select("path", "background")
    if found.cluster is not None:
        columns = columns.with_columns(pl.Series(first, [f"scene {number + 1}" for number in found.cluster]))
        scenes = counted(int(found.cluster.max()) + 1, "scene")
        notes.append(f"No clusters were given: the photos show {scenes}, which count as clusters.")
    held = benchmark.photos.drop(columns.columns[1:]).join(columns, on="path", how="left")
    findings = _followed(benchmark, frame.join(photos, on="path", suffix="_of"))
    return FoundBackgrounds(
        replace(benchmark, photos=held.select(benchmark.photos.columns)),
        shown,
        frame,
        frame.select("path", "chooses"),
        findings,
        tuple(notes),
        _refusal(findings) if given or found.cluster is not None else _UNDECIDED,
    )


def _seen(shown: Benchmark, spec: str, settings: DiscoverSettings) -> tuple[pl.Series, list[np.ndarray]]:
    """Return which photos could be read, and the features of these."""
    encoder, widths = load_middle_layers(spec, settings.device, settings.precision)
    encoder, _ = choose_runtime(encoder, len(shown.photos), settings.runtime)
    features = encode_photos(
        encoder,
        shown,
        cache_dir() / "features",
        batch_size=settings.batch_size,
        show_progress=settings.show_progress,
    )
    parts = np.split(features.matrix[features.readable], np.cumsum(widths)[:-1], axis=1)
    return pl.Series(features.readable), parts


def _named(
    photos: pl.DataFrame, found: Grouping, settings: DiscoverSettings
) -> tuple[pl.DataFrame, list[str]]:
    """Return ``path, name, key, background, scene, distance, chooses``, and a note on rejected groups."""
    names = [f"group {number + 1}" if number >= 0 else None for number in found.group]
    frame = photos.select("path", "photo_id", scene=found.scene, distance=found.distance).with_columns(
        pl.Series("name", names, pl.String), pl.Series("chooses", found.chooses)
    )
    groups = frame.drop_nulls("name").partition_by("name", as_dict=True)
    keys = {
        str(name): hashlib.sha256("".join(sorted(of["photo_id"])).encode()).hexdigest()[:8]
        for (name,), of in groups.items()
    }
    words = _words(Path(settings.words), keys) if settings.words else {}
    rejected = [name for name, word in words.items() if word == NOT_A_BACKGROUND]
    background = pl.col("name").replace(words | dict.fromkeys(rejected))
    frame = frame.with_columns(background=background, key=pl.col("name").replace(keys)).drop("photo_id")
    about = f"{len(rejected)} of {counted(len(keys), 'group')} rejected as no background."
    return frame, [about] if rejected else []


def hypotheses(benchmark: Benchmark) -> FoundBackgrounds:
    """Return what backgrounds that another tool found follow."""
    frame = benchmark.photos.select("path", "background", name="background", chooses=pl.lit(None))
    findings = _followed(benchmark, frame.join(benchmark.photos, on="path", suffix="_of"))
    note = (
        "Backgrounds are hypotheses: if what made them saw which of these answers are wrong, only photos "
        "that it did not see can confirm them."
    )
    return FoundBackgrounds(benchmark, benchmark, frame, None, findings, (note,), _refusal(findings))


def _refusal(findings: Sequence[Finding]) -> str:
    return next((each.text for each in findings if each.numbers["what"] == _CLASS), "")


def _followed(benchmark: Benchmark, photos: pl.DataFrame) -> tuple[Finding, ...]:
    """Return what groups follow that is no background: class, object, file, or another column."""
    facts = {
        name: photos[name] for name in ("class_name", *attributes(photos.schema)) if name in photos.columns
    }
    facts = {name: values for name, values in facts.items() if name not in ("name", "key", *_OWN)}
    facts[_CLASS] = facts.pop("class_name")
    if not benchmark.made:
        facts |= _of_files([benchmark.photo_path(path) for path in photos["path"]])
    codes = photos["name"].rank("dense").fill_null(0).cast(pl.Int64).to_numpy() - 1
    shares = {name: association(codes, values) for name, values in facts.items()}
    return tuple(
        Finding("groups_follow", "", {"what": name, "share": share})
        for name, share in shares.items()
        if share > _FOLLOWS
    )


def _of_files(files: Sequence[Path]) -> dict[str, pl.Series]:
    """Return the resolution of photos, and their JPEG compression: the sum of the steps of quantization."""
    resolutions: list[str | None] = []
    steps: list[int | None] = []
    for file in files:
        try:
            with Image.open(file) as image:
                resolutions.append("{} x {}".format(*image.size))
                steps.append(sum(map(sum, getattr(image, "quantization", {}).values())))
        except OSError:  # the referee's run lists it
            resolutions.append(None)
            steps.append(None)
    return {
        "resolution": pl.Series(resolutions, dtype=pl.String),
        "compression": pl.Series(steps, dtype=pl.Int64),
    }


_OWN = ("scene", "distance", "chooses", "background_of", "path_of")


def _words(file: Path, keys: dict[str, str]) -> dict[str, str]:
    """Read ``key,word`` and return the word for each name of a group.

    Raises:
        UsageError: the file names groups that these are not.
    """
    rows = list(csv.DictReader(read_text(file, None).splitlines()))
    known = {key: name for name, key in keys.items()}
    strange = [str(row.get("key")) for row in rows if row.get("key") not in known]
    if strange:
        raise UsageError(
            f"{file} has words for other groups ({and_more(strange, 3)}): photos, seed or encoder changed."
        )
    words = {known[row["key"]]: (row["word"] or "").strip() for row in rows}
    return {name: word for name, word in words.items() if word}
