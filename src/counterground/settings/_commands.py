"""The settings of the commands of the stack; the wings have their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from counterground.errors import UsageError, did_you_mean
from counterground.settings._record import Help, Record

Precision = Literal["fp32", "bf16", "fp16"]
RuntimeChoice = Literal["auto", "eager", "onnx"]
Engine = Literal["local", "ray"]
Loss = Literal["mean", "sum"]
Protocol = Literal[
    "answer-loss", "describe", "yes-no", "free-form", "multiple-choice", "multiple-choice-loss"
]
KINDS = (
    "original",
    "pasted",
    "refilled",
    "same",
    "other",
    "grey",
    "background_only",
    "mixed_same",
    "mixed_rand",
    "placed_common",
    "placed_counter",
)
"""What a composite may be; see the README of ``composites``."""
_PAIRED_KINDS = (("mixed_same", "mixed_rand"), ("placed_common", "placed_counter"))
_OF_PREDICTIONS = ("photo", "prediction", "confidence", "model")
_Overwrite = Annotated[
    bool, Help("Replace another result already in --out; other files are never replaced.", recorded=False)
]
_Licences = Annotated[
    tuple[str, ...],
    Help(
        "Accept the licence of the mask model's weights; repeatable. Without it, the command names the "
        "licence.",
        metavar="NAME",
        recorded=False,
    ),
]
_Masks = Annotated[
    str | None,
    Help(
        "Source of the object masks.  [default: the benchmark's own]", metavar="DIR|COCO.json|grabcut|MODEL"
    ),
]
_Contrast = Annotated[
    str | None,
    Help(
        "What a drop is of, instead of the benchmark's own contrast: a name, or LEFT - RIGHT within COLUMN, "
        "such as 'place=water - place=land within class_name'.",
        metavar="NAME|TEXT",
    ),
]
_Report = Annotated[bool, Help("Write report.html.", recorded=False)]
_Photos = Annotated[bool, Help("Include small copies of the photos in report.html.", recorded=False)]
_Limit = Annotated[
    int | None,
    Help(
        "Use only N photos, spread over classes and backgrounds, for a quick trial.",
        least=1,
        recorded=False,
    ),
]


@dataclass(frozen=True, kw_only=True)
class ModelSettings(Record):
    """How models are run."""

    label_space: Annotated[
        str | None,
        Help(
            "Candidate class names: the benchmark's, ImageNet's 1000 (the default if every class has an "
            "ImageNet index), 20 per class that a referee chooses (confusable), or those in a file.",
            metavar="benchmark|imagenet|confusable|FILE",
        ),
    ] = None
    names: Annotated[
        str, Help("How to write ImageNet classes in prompts.", metavar="openai|wordnet|FILE")
    ] = "openai"
    prompts: Annotated[
        str,
        Help(
            'Prompt template: "A photo of {}.", the mean of 80 templates, or a file with one per line.',
            metavar="simple|openai|FILE",
        ),
    ] = "simple"
    device: Annotated[str, Help("Device to run models on.", metavar="auto|cpu|cuda|mps")] = "auto"
    precision: Annotated[Precision, Help("Precision of the image encoder.")] = "fp32"
    batch_size: Annotated[int, Help("Photos per forward pass.", least=1, most=2**16)] = 32
    runtime: Annotated[
        RuntimeChoice,
        Help("Runtime for image encoders; auto: for many photos on a CPU onnx, if its numbers are eager's."),
    ] = "auto"
    offline: bool = False
    show_progress: bool = False

    def running(self, **more: Any) -> Settings:
        """Return how models are run, without what only the command needs."""
        names = {each.name for each in fields(self)} & {each.name for each in fields(Settings)}
        return Settings(**{name: getattr(self, name) for name in names}, **more)

    def refuse_confusable(self) -> None:
        """Refuse confusable names where no referee can choose them.

        Raises:
            UsageError: they were chosen.
        """
        if self.label_space == "confusable":
            raise UsageError(
                "No referee chooses confusable names here: use --label-space benchmark, imagenet or a file, "
                "such as the label_space.json of a run of evaluate that chose them."
            )


@dataclass(frozen=True, kw_only=True)
class GenerativeSettings(Record):
    """How generative models are asked."""

    protocol: Annotated[
        Protocol | None,
        Help(
            "How generative models answer. answer-loss (the default), describe, yes-no: the answer with the "
            "lowest loss wins. free-form: generated text is matched to the classes. multiple-choice: one of "
            "a few options is chosen by letter, in all rotations of them. multiple-choice-loss: the option "
            "whose text has the lowest loss wins."
        ),
    ] = None
    options: Annotated[
        int,
        Help(
            "Options per multiple-choice question: the true class and either those closest to it (label "
            "space confusable) or others drawn for each photo.",
            least=2,
            most=26,
        ),
    ] = 4
    loss: Annotated[
        Loss, Help("How to combine the token losses of an answer; predictions.parquet has both.")
    ] = "mean"


@dataclass(frozen=True, kw_only=True)
class ClusterSettings(Record):
    """Where photos are encoded, which does not change the results."""

    engine: Annotated[
        Engine,
        Help(
            "Where photos are encoded: in this process, or on the workers of a Ray cluster (that of "
            "RAY_ADDRESS, else one started on this machine). Generative models run in this process.",
            recorded=False,
        ),
    ] = "local"
    workers: Annotated[
        int | None,
        Help(
            "Maximum number of workers; each has as many threads as this process (OMP_NUM_THREADS).  "
            "[default: as many as fit]",
            least=1,
            recorded=False,
        ),
    ] = None
    gpus_per_worker: Annotated[
        float | None,
        Help("GPUs per worker, such as 0.5.  [default: 1 if models run on cuda]", above=0, recorded=False),
    ] = None

    def check(self) -> None:
        """Refuse workers without a cluster."""
        super().check()
        if self.engine == "local" and (self.workers, self.gpus_per_worker) != (None, None):
            raise UsageError("workers and gpus-per-worker are for a cluster: add -X engine=ray.")


@dataclass(frozen=True, kw_only=True)
class Settings(ClusterSettings, GenerativeSettings, ModelSettings):
    """How all models of an evaluation are run and asked."""

    referee: Annotated[str | None, Help("Model that chooses the confusable names.", metavar="MODEL")] = None

    def check(self) -> None:
        """Refuse confusable names without a referee."""
        super().check()
        if self.label_space == "confusable" and self.referee is None:
            raise UsageError(
                "The confusable label space is chosen by a model: add --referee MODEL, "
                "or give the label_space.json of an earlier run as --label-space."
            )

    @property
    def chooser(self) -> str | None:
        """Specification of the model that chooses the candidate names, None if none does."""
        return self.referee if self.label_space == "confusable" else None

    @property
    def decides_names(self) -> bool:
        """Whether the user decided which names compete; else the benchmark's classes do."""
        return self.label_space is not None and self.chooser is None


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(Settings):
    """Settings of ``evaluate``."""

    usual: ClassVar[tuple[str, ...]] = (
        *("predictions", "map", "skip_bad_rows", "drop_classes"),
        *("overwrite", "limit", "label_space", "referee", "names", "prompts", "device", "precision"),
    )

    map: Annotated[
        Mapping[str, str] | None,
        Help(
            "Which column of your table is which: path, class_name, background, group, cluster, ...; of a "
            "file of predictions photo, prediction, confidence, model. Repeatable.",
            metavar="COLUMN=NAME",
        ),
    ] = None
    skip_bad_rows: Annotated[
        bool, Help("Leave out rows without a path, a class or a file, and count them.")
    ] = False
    drop_classes: Annotated[
        tuple[str, ...], Help("Leave out the photos of these classes.", metavar="CLASS,CLASS,...")
    ] = ()
    predictions: Annotated[
        Path | None,
        Help(
            "Score the predictions in this file (CSV, Parquet, JSON of detectors, ...) instead of models.",
            recorded=False,
        ),
    ] = None
    other_names: Annotated[
        Literal["refuse", "wrong"],
        Help("Predictions that name no candidate label: refuse the file, or count them as wrong."),
    ] = "refuse"
    limit: _Limit = None
    train: Annotated[
        str | None,
        Help(
            "Photos to fit heads ('MODEL?head=knn') on.  [default: other clusters of the benchmark]",
            metavar="BENCHMARK",
            recorded=False,
        ),
    ] = None
    report: _Report = True
    photos: _Photos = True
    overwrite: _Overwrite = False

    @property
    def columns_of_photos(self) -> dict[str, str]:
        """The part of ``map`` that is about the table of photos: column of the manifest -> its name there."""
        return {ours: theirs for ours, theirs in (self.map or {}).items() if ours not in _OF_PREDICTIONS}

    @property
    def columns_of_predictions(self) -> dict[str, str]:
        """The part of ``map`` that is about a file of predictions."""
        return {ours: theirs for ours, theirs in (self.map or {}).items() if ours in _OF_PREDICTIONS}

    def check(self) -> None:
        """Refuse a referee that chooses nothing."""
        super().check()
        if self.referee and self.label_space != "confusable":
            raise UsageError(
                "--referee chooses confusable names: add --label-space confusable, or leave out --referee."
            )


@dataclass(frozen=True, kw_only=True)
class DiscoverSettings(ModelSettings):
    """Settings of ``discover``."""

    command: ClassVar[str] = "discover"
    usual: ClassVar[tuple[str, ...]] = (
        *("overwrite", "split", "min_drop", "write_anyway", "label_space", "find_backgrounds", "encoder"),
        *("masks", "words", "suggest", "background_column", "exploratory"),
    )

    min_drop: Annotated[
        float,
        Help("Keep classes whose accuracy differs between backgrounds by more than this.", fraction=True),
    ] = 0.05
    min_photos: Annotated[
        int | None,
        Help(
            "Minimum photos per background, in each half.  [default: half of what the median background of a "
            "class has, at least 2]",
            least=1,
        ),
    ] = None
    split: Annotated[
        Literal["half", "cross", "none"],
        Help(
            "half: choose pairs on one half of the photos, measure on the other. cross: keep both halves, "
            "each in the pairs chosen on the other. none: choose and measure on the same photos."
        ),
    ] = "half"
    choose: Annotated[
        Literal["best", "shrunken"],
        Help(
            "best: by accuracy. shrunken: by accuracy shrunk towards each background's effect on all classes "
            "(empirical Bayes), which finds more if a background affects all classes alike."
        ),
    ] = "best"
    seed: Annotated[int, Help("Seed for the split and the permutations.", least=0)] = 0
    write_anyway: Annotated[bool, Help("Write the benchmark even if the pairs do not exceed chance.")] = False
    find_backgrounds: Annotated[
        bool, Help("Find groups of photos with like backgrounds instead of reading labels.")
    ] = False
    encoder: Annotated[
        str | None,
        Help("Model that sees the groups, not a referee.  [default: efficientnet-lite2]", metavar="MODEL"),
    ] = None
    masks: _Masks = None
    accept_licences: _Licences = ()
    groups: Annotated[int, Help("The most groups.", least=2)] = 10
    words: Annotated[str | None, Help("Words for the groups, as saved from groups.html.", metavar="FILE")] = (
        None
    )
    suggest: Annotated[str | None, Help("CLIP or generative model that suggests words.", metavar="MODEL")] = (
        None
    )
    background_column: Annotated[
        str | None, Help("Column of the photos that is their background.", metavar="NAME")
    ] = None
    exploratory: Annotated[
        bool, Help("Backgrounds are guesses of a tool: say what else they follow, and refuse classes.")
    ] = False
    overwrite: _Overwrite = False


@dataclass(frozen=True, kw_only=True)
class SwapSettings(ClusterSettings, GenerativeSettings, ModelSettings):
    """Settings of ``swap``."""

    command: ClassVar[str] = "swap"
    usual: ClassVar[tuple[str, ...]] = (
        *("overwrite", "masks", "accept_licences", "kinds", "backgrounds_per_label", "foregrounds"),
        *("label_space", "device"),
    )

    masks: _Masks = None
    accept_licences: _Licences = ()
    kinds: Annotated[tuple[str, ...], Help("Composites to make.", metavar="KIND,KIND,...")] = KINDS
    labels: Annotated[
        tuple[str, ...],
        Help("Backgrounds to put objects on.  [default: all with enough photos]", metavar="LABEL,LABEL,..."),
    ] = ()
    backgrounds_per_label: Annotated[
        int,
        Help(
            "Background photos of each label per object, and draws per object for the other random kinds.",
            least=1,
        ),
    ] = 4
    foregrounds: Annotated[
        int | None,
        Help(
            "Use the objects of N photos, spread over classes and groups.  [default: all, or two photos of "
            "each cut-out]",
            least=1,
        ),
    ] = None
    seed: Annotated[int, Help("Seed for all draws.", least=0)] = 0
    report: _Report = True
    photos: _Photos = True
    overwrite: _Overwrite = False

    def check(self) -> None:
        """Refuse unknown kinds, and one of two that are compared with each other."""
        super().check()
        self.refuse_confusable()
        for kind in self.kinds:
            if kind not in KINDS:
                raise UsageError(
                    f"There is no kind {kind!r} of composite.{did_you_mean(kind, KINDS)} There are "
                    f"{', '.join(KINDS)}."
                )
        for pair in _PAIRED_KINDS:
            if len(set(pair) & set(self.kinds)) == 1:
                raise UsageError(f"{' and '.join(pair)} are compared with each other: name both or neither.")


@dataclass(frozen=True, kw_only=True)
class MitigateSettings(ModelSettings):
    """Settings of ``mitigate``."""

    command: ClassVar[str] = "mitigate"
    usual: ClassVar[tuple[str, ...]] = (
        *("overwrite", "limit", "masks", "accept_licences", "classes", "seed", "label_space", "device"),
    )

    masks: _Masks = None
    accept_licences: _Licences = ()
    limit: _Limit = None
    classes: Annotated[
        Literal["all", "pairs"],
        Help(
            "Classes to include: all, or pairs, those with photos on both sides. Methods that fit a head "
            "need photos of every competing class; with --label-space benchmark, only the included classes "
            "compete."
        ),
    ] = "all"
    seed: Annotated[int, Help("Seed for the split of the clusters and the methods' draws.", least=0)] = 0
    overwrite: _Overwrite = False

    def check(self) -> None:
        """Refuse confusable names, which a referee would choose."""
        super().check()
        self.refuse_confusable()


@dataclass(frozen=True, kw_only=True)
class CompareSettings(Record):
    """Settings of ``compare``."""

    command: ClassVar[str] = "compare"
    usual: ClassVar[tuple[str, ...]] = ("against", "contrast", "published", "setting")

    published: Annotated[bool, Help("Include the paper's models and their 2025 reproduction.")] = False
    contrast: _Contrast = None
    against: Annotated[str | None, Help("Test every model against this one only.", metavar="MODEL")] = None
    baseline: Annotated[
        Literal["imagenet", "clip", "lvlm", "other"],
        Help("Model family that the effective-robustness line is fitted to."),
    ] = "imagenet"
    scale: Annotated[
        Literal["probit", "logit"], Help("Transform of the accuracies before fitting the line.")
    ] = "probit"
    setting: Annotated[
        Literal["one-prompt", "openai-prompts", "1-vs-20", "unbalanced"] | None,
        Help("Tables of the paper to compare with.  [default: one-prompt; 1-vs-20 for runs with 20 names]"),
    ] = None


@dataclass(frozen=True, kw_only=True)
class CheckSettings(Record):
    """Settings of ``check``: limits that models must keep."""

    command: ClassVar[str] = "check"
    usual: ClassVar[tuple[str, ...]] = (
        *(
            "max_drop",
            "min_accuracy",
            "by",
            "contrast",
            "baseline",
            "margin",
            "undecided",
            "detectable",
            "models",
        ),
    )

    max_drop: Annotated[float | None, Help("Largest drop that passes.", fraction=True)] = None
    min_accuracy: Annotated[
        float | None, Help("Smallest accuracy that passes, averaged over classes.", fraction=True)
    ] = None
    by: Annotated[
        str | None, Help("Every value of this column must keep --min-accuracy.", metavar="COLUMN")
    ] = None
    baseline: Annotated[
        Path | None,
        Help(
            "Run on the same photos; a drop may exceed that of the same model there, or of the only one, by "
            "at most --margin, or accuracy be lower by that if no photos have groups.",
            metavar="BASE",
        ),
    ] = None
    margin: Annotated[float, Help("Margin that --baseline allows.", fraction=True)] = 0.02
    contrast: _Contrast = None
    undecided: Annotated[
        Literal["fail", "pass"] | None,
        Help("What an undecided verdict becomes; pass needs --detectable.  [default: undecided]"),
    ] = None
    detectable: Annotated[
        float | None,
        Help(
            "For --undecided pass: how far beyond a limit would have been found to fail with power 80 %.",
            fraction=True,
        ),
    ] = None
    models: Annotated[tuple[str, ...], Help("Check only this model; repeatable.", metavar="MODEL")] = ()

    def check(self) -> None:
        """Refuse one of two that go together."""
        if (self.undecided == "pass") != (self.detectable is not None):
            raise UsageError("--undecided pass and --detectable go together: give both or neither.")
        if self.by is not None and self.min_accuracy is None:
            raise UsageError("--by asks every value of a column to keep --min-accuracy: add it.")


@dataclass(frozen=True, kw_only=True)
class PlanSettings(Record):
    """Settings of ``plan``."""

    command: ClassVar[str] = "plan"
    usual: ClassVar[tuple[str, ...]] = (
        "drop",
        "contrast",
        "by",
        "power",
        "against",
        "classes",
        "photos",
        "cluster_size",
        "accuracy",
        "icc",
    )

    drop: Annotated[float | None, Help("Drop to detect.", fraction=True, above=0, below=1)] = None
    contrast: _Contrast = None
    by: Annotated[
        str | None,
        Help(
            "A row for each value of this column: how many photos show that its accuracy is --drop below "
            "that of the others.",
            metavar="COLUMN",
        ),
    ] = None
    power: Annotated[float, Help("Probability of detecting it.", fraction=True, above=0.05, below=1)] = 0.8
    against: Annotated[
        str | None,
        Help(
            "Plan for the difference in drop between each other model in RUN and this one.", metavar="MODEL"
        ),
    ] = None
    classes: Annotated[int, Help("Without RUN: number of classes.", least=1)] = 20
    photos: Annotated[int, Help("Without RUN: photos per class in each group.", least=1)] = 20
    cluster_size: Annotated[
        float, Help("Without RUN: photos per cluster (one observer or background photograph).", least=1)
    ] = 1.0
    accuracy: Annotated[float, Help("Without RUN: accuracy on common photos.", fraction=True, above=0)] = 0.8
    icc: Annotated[
        float,
        Help(
            "Without RUN: correlation between two photos of a cluster in being classified correctly.",
            least=0,
            below=1,
        ),
    ] = 0.1
    clusters: Annotated[
        int | None,
        Help(
            "Number of observers or background photographs.  [default: grows with the photos]",
            least=4,
            most=10**7,
        ),
    ] = None
    seconds_per_photo: Annotated[
        float, Help("Seconds a person takes to label a photo.", least=0, most=1e9)
    ] = 5.0


@dataclass(frozen=True, kw_only=True)
class ReportSettings(Record):
    """Settings of ``report``."""

    command: ClassVar[str] = "report"
    usual: ClassVar[tuple[str, ...]] = ("discovery", "benchmarks", "contrast", "photos", "photo_budget")

    discovery: Annotated[
        Path | None,
        Help(
            "Benchmark written by discover, on which a run was made; the report shows its photos and how its "
            "pairs were chosen.",
            metavar="DIR",
        ),
    ] = None
    benchmarks: Annotated[
        tuple[str, ...],
        Help(
            "Location of the runs' photos: a folder, a manifest or a pool; repeatable. Not needed for "
            "built-in benchmarks, or with --discovery.",
            metavar="BENCHMARK",
        ),
    ] = ()
    contrast: _Contrast = None
    photos: Annotated[bool, Help("Include small copies of the photos in the page.")] = True
    photo_budget: Annotated[
        float, Help("Maximum megabytes that photos add to the page.", metavar="MB", above=0)
    ] = 15.0


@dataclass(frozen=True, kw_only=True)
class MaskSettings(Record):
    """Settings of ``data masks``: how masks are read and made, and when one is not usable."""

    command: ClassVar[str] = "data masks"
    usual: ClassVar[tuple[str, ...]] = (
        "overwrite",
        "accept_licences",
        "several",
        "categories",
        "boxes",
        "device",
    )

    several: Annotated[
        Literal["union", "largest"],
        Help("If there are several objects of the class: use all of them, or the largest."),
    ] = "union"
    categories: Annotated[
        Mapping[str, str],
        Help(
            "What the annotations or the model call a class, such as 'ice bear=bear'; repeatable.",
            metavar="CLASS=NAME",
        ),
    ] = field(default_factory=dict)
    boxes: Annotated[
        Path | None,
        Help("COCO JSON file with object boxes, instead of columns box_x, box_y, box_width, box_height."),
    ] = None
    inset: Annotated[
        float | None,
        Help(
            "grabcut: if the box is unknown, use the photo without a margin of this size on each side.",
            fraction=True,
            below=0.5,
        ),
    ] = None
    min_area: Annotated[float, Help("Minimum area of the object, relative to the photo.", fraction=True)] = (
        0.01
    )
    max_area: Annotated[float, Help("Maximum area of the object, relative to the photo.", fraction=True)] = (
        0.9
    )
    max_edges: Annotated[
        int, Help("Maximum number of photo sides that the object may touch.", least=0, most=4)
    ] = 2
    max_parts: Annotated[int, Help("Maximum number of separate parts of the object.", least=1)] = 5
    max_holes: Annotated[float, Help("Maximum area of holes, relative to the object.", fraction=True)] = 0.1
    min_box_iou: Annotated[
        float, Help("Minimum IoU of the object's bounding box with its known box.", fraction=True)
    ] = 0.5
    device: Annotated[str, Help("Device to run a model on.", metavar="auto|cpu|cuda|mps", recorded=False)] = (
        "auto"
    )
    accept_licences: _Licences = ()
    overwrite: _Overwrite = False
    show_progress: bool = False

    def check(self) -> None:
        """Refuse limits that no mask keeps."""
        super().check()
        if self.min_area >= self.max_area:
            raise UsageError(
                f"The limits of a mask's area are {self.min_area} and {self.max_area}: give the smaller one "
                "first."
            )


RECORDS: dict[str, type[Record]] = {
    each.command: each
    for each in (
        EvaluateSettings,
        DiscoverSettings,
        SwapSettings,
        MitigateSettings,
        CompareSettings,
        CheckSettings,
        PlanSettings,
        ReportSettings,
    )
}
"""By the name of their command."""
