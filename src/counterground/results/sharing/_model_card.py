"""A run as part of a model card of the Hugging Face hub: metadata (`model-index`) and a section to read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from counterground.errors import UsageError
from counterground.metrics import DROP
from counterground.results._model_scores import ModelScores, headline, regroup
from counterground.results._numbers import Estimate, count
from counterground.results._run import AnyRuns, Run, open_runs
from counterground.results._run_facts import repeat_command
from counterground.results._schema import ModelRecord
from counterground.text import code, markdown, one_line

PAPER = "https://arxiv.org/abs/2403.11497"
_ZERO_SHOT = ("zero-shot-image-classification", "Zero-Shot Image Classification")
_TASKS = dict.fromkeys(("classifier", "image_encoder"), ("image-classification", "Image Classification"))


class _Row(NamedTuple):
    """A figure of the card: where it is in the scores, its type and name for the hub, and the row's title."""

    metric: str
    group: str | None
    kind: str
    name: str
    title: str

    @property
    def task(self) -> str:
        """The figure's name among the tasks of a hub benchmark: ``accuracy_counter``, ``accuracy_drop``."""
        return f"{self.kind}_{self.group}" if self.group else self.kind


WITH_GROUPS = (
    _Row(
        "accuracy",
        "common",
        "accuracy",
        "Accuracy on common backgrounds",
        "accuracy on common backgrounds, %",
    ),
    _Row(
        "accuracy",
        "counter",
        "accuracy",
        "Accuracy on counter backgrounds",
        "accuracy on counter backgrounds, %",
    ),
    _Row(
        "drop",
        None,
        "accuracy_drop",
        "Drop: accuracy on common minus on counter backgrounds",
        "**drop, points**",
    ),
)
WITHOUT_GROUPS = (
    _Row("accuracy", None, "accuracy", "Accuracy, mean over classes", "accuracy, mean over classes, %"),
)


@dataclass(frozen=True)
class ModelResult:
    """One model of one run, under one setting."""

    run: Run
    record: ModelRecord
    scores: ModelScores

    @property
    def metrics(self) -> list[tuple[_Row, Estimate]]:
        """What is known: the drop and its two sides, or the accuracy."""
        chosen = WITH_GROUPS if self.scores.has_groups else WITHOUT_GROUPS
        return self._known(chosen)

    @property
    def contrasts(self) -> list[tuple[_Row, Estimate]]:
        """What is known of the benchmark's own contrasts besides the drop."""
        own = [contrast for contrast in self.run.design.contrasts if contrast != DROP]
        return self._known(
            _Row(
                *contrast.difference_key,
                "accuracy_difference",
                one_line(str(contrast)),
                f"{markdown(contrast.name)}, points",
            )
            for contrast in own
        )

    def _known(self, rows: Iterable[_Row]) -> list[tuple[_Row, Estimate]]:
        figures = ((row, self.scores.get(row.metric, row.group)) for row in rows)
        return [(row, figure) for row, figure in figures if figure.value is not None]


def model_cards(runs: AnyRuns) -> dict[str, str]:
    """Return, for each model, Markdown with a YAML front matter for the model's card.

    The front matter holds a `model-index` with the accuracies on common and counter photos, the drop and the
    benchmark's own contrasts (fractions, with the 95 % interval in ``args``); the section states the drop
    with its interval, the settings, the limits, the warnings that concern the model, and the command. A model
    with several runs or settings has several results in one card. Untrusted text is escaped.

    Args:
        runs: runs or their folders.

    Returns:
        name of the model -> its card, in order of first appearance.

    Raises:
        UsageError: no run, one given twice, one of composites, or two with different figures for a model of
            one name, on the same photos in the same setting.
        CounterGroundError: a run cannot be read.
    """
    found: dict[str, list[ModelResult]] = {}
    for result in results_of(runs):
        found.setdefault(result.record.name, []).append(result)
    return {name: _card(name, results) for name, results in found.items()}


def results_of(runs: AnyRuns) -> Iterator[ModelResult]:
    """Yield what each run says about each of its models in each setting; the same figures once.

    Runs on the same photos may have other contrasts.

    Raises:
        UsageError: see `model_cards`.
    """
    seen: dict[tuple[Any, ...], list[ModelResult]] = {}
    for run in open_runs(runs, least=1):
        if run.info.intervention is not None:
            raise UsageError(
                f"{run.path} is a run of composites (swap): model cards and evaluation results are about "
                "photos as they are. Give a run of evaluate."
            )
        records = {record.name: record for record in run.info.models}
        for scores in regroup(run.scores):
            result = ModelResult(run, records[scores.setting.model], scores)
            others = seen.setdefault((run.info.benchmark.version, scores.setting), [])
            if others and others[0].metrics != result.metrics:
                raise UsageError(_refusal(others[0], result))
            if all(other.contrasts != result.contrasts for other in others):
                others.append(result)
                yield result


def _refusal(one: ModelResult, other: ModelResult) -> str:
    """Say how the results of one model in two runs differ."""
    name, runs = repr(other.record.name), f"{other.run.path} and {one.run.path}"
    return (
        f"{runs} have different figures for {name} on the same photos in the same setting, as with other "
        "weights: give one of them, or evaluate the models under names of their own (NAME=MODEL)."
    )


def _card(name: str, results: Sequence[ModelResult]) -> str:
    import yaml

    index = [{"name": one_line(name), "results": [_result(result) for result in results if result.metrics]}]
    front = yaml.safe_dump({"model-index": index}, sort_keys=False, allow_unicode=True, width=110)
    return "\n".join(["---", f"{front}---", "", "## Reliance on the background", *map(_section, results)])


def _result(result: ModelResult) -> dict[str, Any]:
    info, setting = result.run.info, result.scores.setting
    task, title = _TASKS.get(result.record.kind, _ZERO_SHOT)
    how = {name: one_line(setting.text(name)) for name in setting._fields[1:] if getattr(setting, name)}
    name = one_line(info.benchmark.name)
    return {
        "task": {"type": task, "name": title},
        "dataset": {
            "name": name,
            "type": re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "benchmark",
            "revision": info.benchmark.version,
            "args": {**how, "photos": result.scores.photos.n},
        },
        "metrics": [_metric(row, figure) for row, figure in (*result.metrics, *result.contrasts)],
    }


def _metric(row: _Row, figure: Estimate) -> dict[str, Any]:
    ends = {"low": figure.low, "high": figure.high}
    interval: dict[str, Any] = {key: round(value, 4) for key, value in ends.items() if value is not None}
    if interval:
        interval["confidence"] = 0.95
    if figure.clusters is not None:
        interval["clusters"] = figure.clusters
    return {
        "type": row.kind,
        "value": round(figure.value or 0.0, 4),
        "name": row.name,
        "args": {**interval, "photos": figure.n},
    }


def _section(result: ModelResult) -> str:
    info = result.run.info
    figures = (*result.metrics, *result.contrasts)
    rows = [f"| {row.title} | {figure.text} | {figure.interval} |" for row, figure in figures]
    parts = [
        f"{markdown(headline(result.scores))}.",
        "\n".join(["| | value | 95 % interval |", "| :--- | ---: | ---: |", *rows]),
        f"{_meaning(result)}{_conditions(result)}",
        _bullets("Limits", info.benchmark.notes),
        _bullets("Warnings", info.with_models([result.record.name]).all_warnings),
        _repeat(result),
        f"The method is that of Wang et al., NeurIPS 2024 ([arXiv 2403.11497]({PAPER})).",
    ]
    return "\n" + "\n\n".join(part for part in parts if part) + "\n"


def _meaning(result: ModelResult) -> str:
    if not result.scores.has_groups:
        return ""
    referee = result.run.info.benchmark.referee
    backgrounds = (
        f"a common background, where {markdown(referee)} did best, and on a counter background, the worst"
        if referee
        else "a common and on a counter background, as chosen by the makers of the benchmark"
    )
    return (
        f"Each class is shown on {backgrounds}. The drop, in points, is the mean over classes of accuracy on"
        " common minus accuracy on counter backgrounds.\n\n"
    )


def _conditions(result: ModelResult) -> str:
    info, setting = result.run.info, result.scores.setting
    classes = result.run.photos["class_index"].n_unique()
    clusters = result.scores.photos.clusters
    settings = (("names", setting.names), ("prompts", setting.prompts), ("protocol", setting.protocol))
    how = ", ".join(f"{title} {markdown(value)}" for title, value in settings if value)
    from_clusters = f" in {count(clusters)} clusters, on which the intervals are based" if clusters else ""
    return (
        f"**What was evaluated.** {count(result.scores.photos.n)} photos of {count(classes)} classes"
        f"{from_clusters}: {markdown(info.benchmark.name)}, version {code(info.benchmark.version[:12])}."
        f" Label space {markdown(info.label_space.name)} ({count(info.label_space.size)} names), {how}."
        f" Run on {markdown(info.device)} in {markdown(info.precision)}, {info.created[:10]}."
    )


def _repeat(result: ModelResult) -> str:
    command = repeat_command(result.run, result.record.name)
    where = ", with the path of the benchmark for BENCHMARK" if " BENCHMARK " in command else ""
    sentence = markdown(f"Repeat it with CounterGround {result.run.info.counterground_version}{where}:")
    return f"{sentence} {code(command)}"


def _bullets(title: str, sentences: Sequence[str]) -> str:
    return "\n".join([f"**{title}.**", "", *(f"- {markdown(s)}" for s in sentences)]) if sentences else ""
