"""A bundle: a run of one model without photos and paths, from which others compute its scores again."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from counterground.benchmarks import benchmark_names, open_benchmark
from counterground.errors import CounterGroundError, UsageError
from counterground.files import file_sha256, is_file, read_parquet, write_text
from counterground.metrics import PHOTO_COLUMNS, Design
from counterground.photos import LABEL_SPACE_FILE, Benchmark, LabelSpace, without_classes
from counterground.predictions import (
    BUILT_IN_NAMES,
    BUILT_IN_PROMPTS,
    candidate_labels,
)
from counterground.results import (
    PREDICTIONS_SCHEMA,
    BenchmarkRecord,
    Run,
    RunInfo,
    check_free,
    open_run,
    write_run,
)
from counterground.settings import EvaluateSettings
from counterground.text import counted

AUDIT_FILE = "audit.json"
_HASHED = (LABEL_SPACE_FILE, "predictions.parquet", "run.json", "scores.parquet")
BUNDLE_FILES = (*_HASHED, "unreadable.csv", AUDIT_FILE)
_DIGITS = 1e-6  # by which scores that another machine computes may differ
_SPACES = (None, "benchmark", "imagenet")
_DESCRIBED = ("version", "design", "referee", "split", "min_drop", "earlier_referees", "committee")
# An absolute path up to its last part, also at the end of a specification; no address on the web. Names of
# folders may hold spaces, so in a sentence it may take words up to a later slash along.
_WITHIN = r"(?:[^\s'\"<>|,;]| (?=[^\s/'\"<>|,;]))*"
_FOLDERS = re.compile(rf"(?<![\w.-])(?<!:/)~?/(?![/\s]){_WITHIN}/|(?<!\w)[A-Za-z]:[\\/](?!/){_WITHIN}[\\/]")


def share_run(run: Run, out: Path) -> Run:
    """Write a run of one model as a bundle: a run whose paths and clusters are numbers, in the same order.

    Args:
        run: a run of ``evaluate`` on all photos of its benchmark.
        out: the folder of the bundle.

    Raises:
        UsageError: the run is of something else, or holds several models.
        CounterGroundError: ``out`` cannot be written or holds another run.
    """
    bundle = without_paths(run, out)
    check_free(out, run.info.request, overwrite=False)
    _refuse_other_model(out, bundle)
    return write_run(
        bundle, LabelSpace.load(run.path / LABEL_SPACE_FILE), pl.DataFrame(schema={"path": pl.String})
    )


def _refuse_other_model(out: Path, bundle: Run) -> None:
    """Refuse the bundle of another model of the same run, whose request is the same."""
    there = open_run(out).info.models if is_file(out / "run.json") else bundle.info.models
    if there != bundle.info.models:
        raise CounterGroundError(f"{out} holds the bundle of {there[0].name}: choose another --out.")


def without_paths(run: Run, out: Path) -> Run:
    """Return a run of one model as it is shared, in ``out``: no folders, and numbers for paths and clusters.

    Raises:
        UsageError: the run is of something else, or holds several models.
    """
    for reason in _unfit(run):
        raise UsageError(f"{run.path} cannot be shared: {reason}.")
    info = RunInfo.model_validate(_without_folders(run.info.model_dump(mode="json")))
    rows = _numbered(run.predictions, run.design, PREDICTIONS_SCHEMA)
    return Run(out, info, rows.with_columns(model=pl.lit(info.models[0].name)))


def _unfit(run: Run) -> Iterator[str]:
    info = run.info
    if info.command != "evaluate" or not info.recorded or not (run.path / LABEL_SPACE_FILE).is_file():
        yield "it is not the folder of a run of `counterground evaluate`"
    if len(info.models) > 1:
        yield f"it holds several models: name one with --model ({', '.join(m.name for m in info.models)})"
    if info.benchmark.sampled:
        yield f"it is a trial on {counted(info.benchmark.sampled, 'photo')}: evaluate again without --limit"
    if info.counts.unreadable:
        yield f"{counted(info.counts.unreadable, 'photo')} could not be read, and a bundle has all photos"


def _numbered(rows: pl.DataFrame, design: Design, columns: Any) -> pl.DataFrame:
    """Return columns and those that the design reads; paths and names of clusters become their ranks.

    The order is kept, and so is every score. A column of clusters that is also compared keeps its values.
    """
    compared = {*design.cells, *(name for contrast in design.contrasts for name in contrast.columns)}
    further = [name for name in (*design.cells, *compared, *design.clusters) if name not in columns]
    numbers = {"path", "cluster", *design.clusters} - compared
    return (
        rows.select(*columns, *dict.fromkeys(sorted(further)))
        .with_columns(pl.col(name).rank("dense").cast(pl.String).str.zfill(8) for name in sorted(numbers))
        .sort("path", maintain_order=True)
    )


def _without_folders(value: Any) -> Any:
    """Reduce every absolute path in the texts of a record to its last part."""
    if isinstance(value, dict):
        return {_without_folders(name): _without_folders(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_folders(inner) for inner in value]
    return _FOLDERS.sub("", value) if isinstance(value, str) else value


def bundle_hash(folder: Path) -> str:
    """Return the SHA-256 of a bundle's files, its audit excepted."""
    lines = [f"{name} {file_sha256(folder / name)}\n" for name in _HASHED]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def check_bundle(folder: Path) -> Run:
    """Open a bundle and check that its scores follow from its predictions.

    Raises:
        CounterGroundError: they do not, with the first culprit; or a file is missing, damaged or foreign.
    """
    names = {file.name for file in folder.iterdir()} if folder.is_dir() else set()
    problems = [
        *(f"{name} is missing" for name in _HASHED if name not in names),
        *(f"{name} does not belong in a bundle" for name in sorted(names - set(BUNDLE_FILES))),
    ]
    if problems:
        raise CounterGroundError(f"{folder} is not a bundle of `counterground share`: {problems[0]}.")
    bundle = open_run(folder)
    for problem in (*_unfit(bundle), *_contradictions(bundle)):
        raise CounterGroundError(f"{folder} does not add up: {problem}.")
    return bundle


def _contradictions(bundle: Run) -> Iterator[str]:
    rows, space = bundle.predictions, LabelSpace.load(bundle.path / LABEL_SPACE_FILE)
    for column in ("predicted_index", "true_index"):
        if not rows[column].drop_nulls().is_between(0, len(space) - 1).all():
            yield f"predictions.parquet has a {column} that {LABEL_SPACE_FILE} lacks"
            return
    named = rows["predicted_index"].replace_strict(
        range(len(space)), space.names, default=None, return_dtype=pl.String
    )
    if named.ne_missing(rows["predicted_name"]).any():
        yield f"predicted_name is not what {LABEL_SPACE_FILE} calls predicted_index"
    if (rows["predicted_index"] == rows["true_index"]).fill_null(value=False).ne(rows["correct"]).any():
        yield "correct is not whether predicted_index is true_index"
    if rows.unique("class_index").height < rows.unique(["class_index", "true_index"]).height:
        yield "a class has several true_index"
    yield from _other_scores(read_parquet(bundle.path / "scores.parquet"), bundle.all_scores())


def _other_scores(stored: pl.DataFrame, computed: pl.DataFrame) -> Iterator[str]:
    if stored.schema != computed.schema or len(stored) != len(computed):
        yield "scores.parquet has other rows than its predictions give"
        return
    both = computed.hstack(stored.rename(lambda name: f"stored {name}"))
    same = [
        ((pl.col(name) - pl.col(f"stored {name}")).abs() <= _DIGITS).fill_null(
            pl.col(name).is_null() & pl.col(f"stored {name}").is_null()
        )
        if kind.is_float()
        else pl.col(name).eq_missing(pl.col(f"stored {name}"))
        for name, kind in computed.schema.items()
    ]
    for row in both.filter(~pl.all_horizontal(same)).head(1).iter_rows(named=True):
        about = " ".join(
            str(row[name]) for name in ("metric", "level", "class_index") if row[name] is not None
        )
        yield (
            f"scores.parquet says {row['stored value']} [{row['stored low']}, {row['stored high']}] for "
            f"{about}, and its predictions give {row['value']} [{row['low']}, {row['high']}]"
        )


def benchmark_of(
    bundle: Run, data: Benchmark | Path | str | None, *, files: bool, show_progress: bool = False
) -> Benchmark:
    """Open the benchmark of a bundle as its run did; None: the built-in one of its name.

    Raises:
        UsageError: there is no built-in one of this name, or see ``open_benchmark``.
    """
    name, asked = bundle.info.benchmark.name, EvaluateSettings(**bundle.info.settings)
    if data is None and name.partition("?")[0] not in benchmark_names():
        raise UsageError(
            f"{bundle.path} is about {name}, which is not built in: say where it is with --data."
        )
    opened = open_benchmark(
        name if data is None else data,
        columns=asked.columns_of_photos,
        skip_bad_rows=asked.skip_bad_rows,
        files=files,
        show_progress=show_progress,
    )
    return without_classes(opened, asked.drop_classes)


def settings_of_bundle(bundle: Run, folder: Path) -> EvaluateSettings:
    """Return the settings of a bundle's run; files that they name are written into ``folder`` again."""
    info = bundle.info
    given: dict[str, Any] = {
        name: value for name, value in info.settings.items() if name in ("protocol", "options", "loss")
    }
    for name, label, built_in, lines in (
        ("names", info.names, BUILT_IN_NAMES, info.texts),
        ("prompts", info.prompts, BUILT_IN_PROMPTS, info.templates),
    ):
        given[name] = label
        if label not in built_in:
            file = folder / name / Path(label).name.rpartition("@")[0]
            write_text(file, "\n".join(lines) + "\n")
            given[name] = str(file)
    space = info.settings.get("label_space")
    given["label_space"] = space if space in _SPACES else str(bundle.path / LABEL_SPACE_FILE)
    given["precision"] = info.precision
    return EvaluateSettings(**given)


def check_against(bundle: Run, benchmark: Benchmark) -> None:
    """Check that a bundle is about exactly the photos and names of a benchmark.

    Raises:
        CounterGroundError: it is of another version, with other photos or other candidate names.
    """
    with TemporaryDirectory() as folder:
        settings = settings_of_bundle(bundle, Path(folder))
        labels = candidate_labels(benchmark, settings.label_space, settings.names)
    record = BenchmarkRecord.of(benchmark)
    check_record(bundle, record, "the benchmark here")
    space = LabelSpace.load(bundle.path / LABEL_SPACE_FILE)
    if bundle.info.candidates.version != labels.version() or space != labels.space:
        raise CounterGroundError(
            f"{bundle.path} lets other names compete, or in another order, than {labels.source} here."
        )
    photos = _numbered(benchmark.photos, benchmark.design, PHOTO_COLUMNS)
    true = pl.Series([labels.true_index[index] for index in photos["class_index"]], dtype=pl.Int32)
    check_photos(bundle, photos.with_columns(true_index=true), "the benchmark here")


def check_record(bundle: Run, expected: BenchmarkRecord, source: str) -> None:
    """Check what a bundle says of its benchmark.

    Raises:
        CounterGroundError: it is of another version, scores something else, or says otherwise who chose.
    """
    recorded, known = (
        _without_folders(record.model_dump(mode="json")) for record in (bundle.info.benchmark, expected)
    )
    for name in _DESCRIBED:
        if recorded[name] != known[name]:
            raise CounterGroundError(
                f"{bundle.path} says of {recorded['name']} that its {name} is {recorded[name]!s:.40}, and "
                f"that of {source} is {known[name]!s:.40}."
            )


def photos_of(bundle: Run) -> pl.DataFrame:
    """Return the photos of a bundle and the index of their true name, one row each."""
    rows = bundle.predictions
    columns = [name for name in rows.columns if name not in PREDICTIONS_SCHEMA or name in PHOTO_COLUMNS]
    return rows.select(*columns, "true_index").unique(maintain_order=True)


def check_photos(bundle: Run, expected: pl.DataFrame, source: str) -> None:
    """Check that the photos of a bundle are exactly the expected ones, with the columns of `photos_of`.

    Raises:
        CounterGroundError: a photo is missing, foreign or described otherwise.
    """
    photos = photos_of(bundle)
    if len(photos) != len(expected):
        raise CounterGroundError(
            f"{bundle.path} has {counted(len(photos), 'photo')}, and {source} {len(expected):,}."
        )
    for name in expected.columns:
        for place in photos[name].ne_missing(expected[name].cast(photos.schema[name])).arg_true().head(1):
            raise CounterGroundError(
                f"{bundle.path}: {name} of photo {photos['path'][place]} is {photos[name][place]!r}, and in "
                f"{source} {expected[name][place]!r}."
            )
