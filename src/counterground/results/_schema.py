"""The schema of a run: the columns of its predictions, and ``run.json``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal, TypeVar

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, field_validator, model_validator

from counterground.errors import CounterGroundError
from counterground.metrics import DESIGN, KEY_SCHEMA, RESULT_SCHEMA, Design
from counterground.photos import LABEL_SPACE_FILE, Benchmark, Discovered

RUN_FILES = (
    "answers.parquet",
    "figures",
    "heads",
    LABEL_SPACE_FILE,
    "left_out.csv",
    "mitigation.json",
    "predictions.parquet",
    "report.html",
    "run.json",
    "scores.parquet",
    "unreadable.csv",
)
"""What the folder of a run holds."""

RECORD = "counterground_run"
"""Key of a run's record in the metadata of ``predictions.parquet``."""
PREDICTIONS_SCHEMA: dict[str, Any] = {
    "path": pl.String,
    "photo_id": pl.String,
    "class_index": pl.Int32,
    "class_name": pl.String,
    "background": pl.String,
    "group": pl.String,
    "cluster": pl.String,
    **KEY_SCHEMA,
    **RESULT_SCHEMA,
}
"""Columns of ``predictions.parquet``; attributes and covariates of the benchmark follow them.

``true_index`` and ``predicted_index`` index the names of the run's label space (null: it lacks the true name;
an answer names none), ``class_index`` the classes of the benchmark.
"""


_CHOSE = "chose_pairs_as"
_INTEGER_BITS = 64  # with the sign, in a column of Polars
R = TypeVar("R")


_Count = Annotated[int, Field(ge=0, lt=2**63)]
_Number = Annotated[int, Field(ge=1, lt=2**63)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _chosen(discovery: Discovered | None) -> dict[str, Any]:
    """The fields of a discovery that a run keeps; fingerprints become `ModelRecord.chose`."""
    found = asdict(discovery) if discovery else {}
    found.pop("fingerprints", None)
    return found


class BenchmarkRecord(_Record):
    """The benchmark a run was made on; the fields of `Discovered` if a model chose its pairs.

    ``design`` is what `metrics.Design` writes; None is the default, the drop. ``sampled`` is how many of
    its photos ``--limit`` kept, ``columns`` what columns were called in the user's table -> their names.
    """

    name: str
    version: str
    n_photos: _Count
    notes: list[str]
    referee: str | None = None
    split: str | None = None
    min_drop: FiniteFloat | None = None
    discovered_from: str | None = None
    origin: str | None = None
    earlier_referees: tuple[str, ...] = ()
    committee: tuple[str, ...] = ()
    referee_candidates: str = ""
    design: dict[str, Any] | None = None
    sampled: _Number | None = None
    columns: dict[str, str] = {}

    @field_validator("design")
    @classmethod
    def _readable(cls, design: dict[str, Any] | None) -> dict[str, Any] | None:
        try:
            Design.from_json(design)
        except (AttributeError, KeyError, TypeError, CounterGroundError) as error:
            raise ValueError("not a design") from error
        return design

    @classmethod
    def of(cls, benchmark: Benchmark) -> BenchmarkRecord:
        """Describe a benchmark."""
        return cls(
            name=benchmark.name,
            version=benchmark.version,
            n_photos=len(benchmark.photos),
            notes=list(benchmark.notes),
            **_chosen(benchmark.discovery),
            design=None if benchmark.design == DESIGN else benchmark.design.to_json(),
            sampled=benchmark.sampled,
            columns=dict(benchmark.columns),
        )

    @property
    def scored(self) -> Design:
        """Cells, contrasts and shares of its scores."""
        return Design.from_json(self.design)

    @property
    def discovery(self) -> Discovered | None:
        """How a model chose the pairs of backgrounds; None if none did."""
        return Discovered.from_json(self.model_dump())


class CandidatesRecord(_Record):
    """The names that competed; ``version`` is a hash of them, their texts and which compete for each class.

    ``fewest``: how many of them compete for one photo (the fewest), None if all do.
    """

    name: str
    size: _Number
    source: str
    version: str = ""
    fewest: _Number | None = None

    @property
    def is_built_in(self) -> bool:
        """Whether the name alone says which names compete on a benchmark, however prompts write them."""
        return self.name in ("benchmark", "imagenet")

    @property
    def chance(self) -> float:
        """The accuracy of guessing: one name among those that compete (a fraction)."""
        return 1 / (self.fewest or self.size)


class ModelRecord(_Record):
    """One model of a run: ``name`` is what its tables call it, by default its specification."""

    name: str
    spec: str
    kind: str
    fingerprint: str
    description: dict[str, Any]

    @model_validator(mode="before")
    @classmethod
    def _named_by_spec(cls, fields: Any) -> Any:
        return {"name": fields.get("spec"), **fields} if isinstance(fields, dict) else fields

    @property
    def reads_names(self) -> bool:
        """Whether names and prompts decide its predictions: not with its own classes or a fitted head."""
        return self.kind not in ("classifier", "image_encoder", "predictions")

    @property
    def has_other_head(self) -> bool:
        """Whether its head was fitted on photos or mitigated, which makes the same weights another model."""
        return "head" in self.description or "mitigation" in self.description

    def stated(self, key: str, kind: type[R]) -> R | None:
        """Return what its description says under a key, if that is of this type: any library may write it."""
        value = self.description.get(key)
        if kind is float and type(value) is int and value.bit_length() < _INTEGER_BITS:
            value = float(value)  # JSON has one kind of numbers
        fits = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
        if fits and isinstance(value, int) and value.bit_length() >= _INTEGER_BITS:
            return None
        return value if fits else None

    @property
    def chose(self) -> tuple[str, ...]:
        """Which of the benchmark's referees it is, by its fingerprint; see `with_roles`."""
        return tuple(map(str, self.stated(_CHOSE, list) or ()))

    def with_roles(self, discovery: Discovered | None) -> ModelRecord:
        """Return the record with the specifications under which the model chose pairs of the benchmark."""
        models = discovery.in_order if discovery else []
        roles = [spec for spec, fingerprint in models if fingerprint == self.fingerprint]
        return self.model_copy(update={"description": {**self.description, _CHOSE: roles}}) if roles else self

    @property
    def in_memory(self) -> bool:
        """Whether it was an object of a Python program, which no specification can load again."""
        return self.spec.startswith("object:")


class CountsRecord(_Record):
    """How many photos were in the manifest, could not be read, were not RGB; exact top-2 ties per model.

    ``unmatched`` counts, per generative model, the answers that name no competing class.
    """

    photos: _Count
    unreadable: _Count
    converted_to_rgb: _Count
    ties: dict[str, _Count]
    unmatched: dict[str, _Count] = {}


class PositionsRecord(_Record):
    """What the order of the options did to a model, over the ``asked`` photos with ``options`` options each.

    ``chosen`` is the share of answers in which each position was chosen, all cyclic rotations of the options
    together: without a positional bias it is one in ``options`` for each. ``same_option`` is the share of
    photos where all orders chose the same option. ``unparsable`` counts generated answers without a letter.
    """

    options: _Number
    asked: _Count
    chosen: list[FiniteFloat]
    same_option: FiniteFloat
    unparsable: _Count = 0

    @model_validator(mode="after")
    def _one_share_each(self) -> PositionsRecord:
        if len(self.chosen) != self.options:
            raise ValueError("chosen needs a share for each option")
        return self

    @property
    def sentence(self) -> str:
        """What readers must know about it."""
        most = max(range(self.options), key=self.chosen.__getitem__)
        return (
            f"of {self.options} options the one at position {chr(ord('A') + most)} was chosen in "
            f"{100 * self.chosen[most]:.0f} % of the orders ({100 / self.options:.0f} % without a positional "
            f"bias); all orders chose the same option for {100 * self.same_option:.0f} % of the photos"
        )


class InterventionRecord(_Record):
    """How the composites of a run were made; ``kind`` is ``swap``, ``version`` that of the compositing.

    ``opencv`` is the version of the library that made them: another may round differently. ``source`` are the
    photos, of which ``foregrounds`` and ``backgrounds`` were used.
    """

    kind: Literal["swap"]
    version: int
    opencv: str
    source: BenchmarkRecord
    foregrounds: _Count
    backgrounds: _Count


class RunInfo(_Record):
    """``run.json``: everything needed to repeat the run.

    ``templates`` are the prompts, ``texts`` the class names as written in them; ``request`` is a hash of
    everything requested: runs with the same hash may replace each other. ``settings`` are those of
    ``command`` that were not at their default. ``positions`` says by
    model what the order of options did. ``warnings`` concern the whole run, ``model_warnings`` one model each
    (by its name). Each model's description says what ran it. ``train`` are the photos
    that heads were fitted on, None for parts of the benchmark itself; each model's description, under
    ``head``, says how. ``intervention`` is set if the photos are composites. ``seconds`` is how long the run
    took. ``recorded``: whether the run has a record, or is a table by whoever wrote it.
    """

    command: str = "evaluate"
    settings: dict[str, Any] = {}
    counterground_version: str = ""
    created: str = ""
    python: str = ""
    platform: str = ""
    libraries: dict[str, str] = {}
    device: str = ""
    precision: str = ""
    batch_size: int = 1
    threads: int = 1
    benchmark: BenchmarkRecord
    candidates: CandidatesRecord
    names: str
    prompts: str
    models: list[ModelRecord]
    warnings: list[str] = []
    counts: CountsRecord
    seconds: FiniteFloat = 0.0
    recorded: bool = True
    templates: list[str] = []
    texts: list[str] = []
    request: str = ""
    model_warnings: dict[str, list[str]] = {}
    positions: dict[str, list[PositionsRecord]] = {}
    train: BenchmarkRecord | None = None
    intervention: InterventionRecord | None = None

    @property
    def source(self) -> BenchmarkRecord:
        """The benchmark of the photos as they are: for composites, that which they are made of."""
        return self.intervention.source if self.intervention else self.benchmark

    @property
    def read_texts(self) -> tuple[str, ...]:
        """Which of ``names`` and ``prompts`` its models read: classifiers none, generative ones names."""
        kinds = {model.kind for model in self.models if model.reads_names}
        names = ("names",) if kinds else ()
        return (*names, "prompts") if kinds - {"generative"} else names

    @property
    def all_warnings(self) -> list[str]:
        """The warnings as readers see them: those about a model after its name, then those of the run."""
        named = [f"{name}: {text}" for name, texts in self.model_warnings.items() for text in texts]
        return [*named, *self.warnings]

    @property
    def as_metadata(self) -> dict[str, str]:
        """The record as metadata of ``predictions.parquet``: what is the same if the run is made again."""
        return {RECORD: self.model_dump_json(exclude={"created", "seconds"}, exclude_defaults=True)}

    def with_models(self, names: Sequence[str]) -> RunInfo:
        """Return the record with only some of the models, and without the warnings about others."""
        return self.model_copy(
            update={
                "models": [model for model in self.models if model.name in names],
                "model_warnings": {
                    name: texts for name, texts in self.model_warnings.items() if name in names
                },
            }
        )
