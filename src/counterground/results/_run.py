"""A run: what was asked, on what, with what, and what came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

from counterground.errors import CounterGroundError, UsageError, did_you_mean
from counterground.metrics import KEY_SCHEMA, SCORES_SCHEMA
from counterground.photos import Benchmark, Discovered

PREDICTIONS_SCHEMA: dict[str, Any] = {
    "path": pl.String,
    "photo_id": pl.String,
    "class_index": pl.Int32,
    "class_name": pl.String,
    "background": pl.String,
    "group": pl.String,
    "cluster": pl.String,
    **KEY_SCHEMA,
    "predicted_index": pl.Int32,
    "predicted_name": pl.String,
    "correct": pl.Boolean,
    "true_rank": pl.Int32,
    "confidence": pl.Float32,
    "top2_gap": pl.Float32,
    "loss_sum": pl.Float32,
    "loss_mean": pl.Float32,
}


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BenchmarkRecord(_Record):
    """The benchmark a run was made on; the fields of `Discovered` where a model chose its pairs."""

    name: str
    version: str
    n_photos: int
    notes: list[str]
    referee: str | None = None
    split: str | None = None
    min_drop: float | None = None
    discovered_from: str | None = None
    origin: str | None = None
    referee_as_published: bool = False
    earlier_referees: tuple[str, ...] = ()

    @classmethod
    def of(cls, benchmark: Benchmark) -> BenchmarkRecord:
        """Describe a benchmark."""
        return cls(
            name=benchmark.name,
            version=benchmark.version,
            n_photos=len(benchmark.photos),
            notes=list(benchmark.notes),
            **(asdict(benchmark.discovery) if benchmark.discovery else {}),
        )

    @property
    def discovery(self) -> Discovered | None:
        """How a model chose the pairs of backgrounds; None where none did."""
        return Discovered.from_json(self.model_dump())


class LabelSpaceRecord(_Record):
    """The names that competed; ``version`` is a hash of them, their texts and who competes for whom."""

    name: str
    size: int
    source: str
    version: str = ""


class ModelRecord(_Record):
    """One model of a run."""

    spec: str
    kind: str
    fingerprint: str
    description: dict[str, Any]


class CountsRecord(_Record):
    """How many photos were in the manifest, could not be read, were not RGB; exact top-2 ties per model.

    ``unmatched`` counts, per model that answered in its own words, the answers that name no competing class.
    """

    photos: int
    unreadable: int
    converted_to_rgb: int
    ties: dict[str, int]
    unmatched: dict[str, int] = {}


class RunInfo(_Record):
    """``run.json``: everything needed to repeat the run.

    ``templates`` are the prompts, ``texts`` the class names as written in them; ``request`` is a hash of all
    that was asked: runs with the same one may replace each other. ``protocol`` (None: each model's own),
    ``loss``, ``article`` and ``aliases`` say how generative models were asked.
    """

    counterground_version: str
    git: str | None
    created: str
    python: str
    platform: str
    libraries: dict[str, str]
    device: str
    precision: str
    batch_size: int
    threads: int
    benchmark: BenchmarkRecord
    label_space: LabelSpaceRecord
    names: str
    prompts: str
    as_published: bool
    models: list[ModelRecord]
    warnings: list[str]
    counts: CountsRecord
    seconds: float
    templates: list[str] = []
    texts: list[str] = []
    request: str = ""
    protocol: str | None = None
    loss: str = "mean"
    article: str = "a"
    aliases: dict[str, list[str]] = {}


@dataclass(frozen=True)
class Run:
    """Predictions and scores of some models on one benchmark, as kept in a folder."""

    path: Path
    info: RunInfo
    predictions: pl.DataFrame
    scores: pl.DataFrame

    def _repr_html_(self) -> str:
        from counterground.results.tables._scores import scores_html

        return scores_html(self)


def open_run(path: Path | str) -> Run:
    """Read a run folder.

    Raises:
        CounterGroundError: the folder holds no run, an empty or a damaged one.
    """
    folder = Path(path)
    if folder.is_file():
        raise UsageError(f"{folder} is a file; a run is a folder: give {folder.parent}.")
    if not (folder / "run.json").is_file():
        raise CounterGroundError(
            f"{folder} holds no run (run.json is missing). Make one with `counterground evaluate`."
        )
    try:
        info = RunInfo.model_validate_json((folder / "run.json").read_bytes())
        predictions = pl.read_parquet(folder / "predictions.parquet")
        scores = pl.read_parquet(folder / "scores.parquet")
    except (ValidationError, OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0]
        raise CounterGroundError(
            f"The run in {folder} is damaged ({reason}). Delete the folder and evaluate again; "
            "stored features make that quick."
        ) from error
    if predictions.columns != list(PREDICTIONS_SCHEMA) or scores.columns != list(SCORES_SCHEMA):
        raise CounterGroundError(
            f"The tables in {folder} have other columns than this version writes. Evaluate into a new folder."
        )
    if obstacle := _unusable(folder, info, predictions, scores):
        raise CounterGroundError(
            f"{obstacle} Delete the folder and evaluate again; stored features make that quick."
        )
    return Run(folder, info, predictions, scores)


def _unusable(folder: Path, info: RunInfo, predictions: pl.DataFrame, scores: pl.DataFrame) -> str:
    """Say what a run's tables lack, or what its run.json lacks of them; empty where they agree."""
    tables = {"predictions.parquet": predictions, "scores.parquet": scores}
    for name, table in tables.items():
        if table.is_empty():
            return f"The run in {folder} is empty ({name} has no rows)."
        strangers = sorted(set(table["model"]) - {model.spec for model in info.models})
        if strangers:
            listed = ", ".join(strangers)
            return (
                f"The run in {folder} is damaged ({folder / 'run.json'} lacks {listed}, which {name} holds)."
            )
    return ""


def select_models(runs: Mapping[Path, Run], specs: Sequence[str]) -> dict[Path, Run]:
    """Return the runs with these models only; a run that has none of them is left out.

    Raises:
        UsageError: no run has one of the models.
    """
    known = list(dict.fromkeys(model.spec for run in runs.values() for model in run.info.models))
    for spec in specs:
        if spec not in known:
            raise UsageError(
                f"No run has the model {spec!r}; there are {', '.join(known)}.{did_you_mean(spec, known)}"
            )
    chosen = {folder: _with_models(run, specs) for folder, run in runs.items()}
    return {folder: run for folder, run in chosen.items() if run.info.models}


def _with_models(run: Run, specs: Sequence[str]) -> Run:
    kept = [model for model in run.info.models if model.spec in specs]
    left = tuple(f"{model.spec}: " for model in run.info.models if model not in kept)
    warnings = [text for text in run.info.warnings if not text.startswith(left)]
    info = run.info.model_copy(update={"models": kept, "warnings": warnings})
    wanted = pl.col("model").is_in([model.spec for model in kept])
    return Run(run.path, info, run.predictions.filter(wanted), run.scores.filter(wanted))


def why_not_comparable(runs: Sequence[Run]) -> str:
    """Return why the models of these runs cannot be compared, or an empty string.

    Models are compared on the same photos, against the same names.
    """
    benchmarks = {run.info.benchmark.version: run for run in runs}
    if len(benchmarks) > 1:
        listed = [
            f"{run.path} on {run.info.benchmark.name}, version {version[:8]}"
            for version, run in benchmarks.items()
        ]
        return f"These runs are on different photos ({'; '.join(listed)})."
    spaces: dict[tuple[str, str, str], str] = {}
    for run in runs:
        space = run.info.label_space
        key = (space.name, run.info.names, run.info.benchmark.version)
        if spaces.setdefault(key, space.version) != space.version:
            return (
                f"These runs have different {space.name} names; give the label_space.json of one run as "
                "--label-space to the other."
            )
    return ""
