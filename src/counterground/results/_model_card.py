"""A run as a part of a model card of the Hugging Face hub: metadata (`model-index`) and a section to read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from counterground.results._numbers import count
from counterground.results._provenance import repeat_command
from counterground.results._summary import (
    BALANCED,
    COMMON,
    COUNTER,
    DROP,
    Estimate,
    ModelScores,
    headline,
    regroup,
)
from counterground.text import code, markdown, one_line

if TYPE_CHECKING:
    from counterground.results._run import ModelRecord, Run


PAPER = "https://arxiv.org/abs/2403.11497"
_ZERO_SHOT = ("zero-shot-image-classification", "Zero-Shot Image Classification")
_TASKS = {"classifier": ("image-classification", "Image Classification")}
_METRICS = (
    (COMMON, "accuracy", "Accuracy on common backgrounds"),
    (COUNTER, "accuracy", "Accuracy on counter backgrounds"),
    (DROP, "accuracy_drop", "Drop: accuracy on common minus on counter backgrounds"),
)
_WITHOUT_GROUPS = ((BALANCED, "accuracy", "Accuracy, mean over classes"),)
_ROWS = {
    COMMON: "accuracy on common backgrounds, %",
    COUNTER: "accuracy on counter backgrounds, %",
    DROP: "**drop, points**",
    BALANCED: "accuracy, mean over classes, %",
}


@dataclass(frozen=True)
class _Asked:
    """One model of one run, under one setting."""

    run: Run
    record: ModelRecord
    scores: ModelScores

    @property
    def metrics(self) -> list[tuple[str, str, str, Estimate]]:
        """Type, name, row and figure of what there is: the drop and its two sides, or the accuracy."""
        chosen = _METRICS if self.scores.has_groups else _WITHOUT_GROUPS
        figures = ((kind, name, _ROWS[m], self.scores.get(m.metric, m.group)) for m, kind, name in chosen)
        return [row for row in figures if row[3].value is not None]


def model_cards(runs: Sequence[Run]) -> dict[str, str]:
    """Return, for each model, Markdown with a YAML front matter for the model's card.

    The front matter holds a `model-index` with the accuracies on common and counter photos and the drop
    (fractions, with the 95 % interval in ``args``); the section says the drop with its interval, what was
    asked, the limits, the warnings that concern the model, and the command. A model of several runs, or asked
    in several ways, has several results in one card. Strangers' words are escaped.

    Args:
        runs: one or several.

    Returns:
        specification of the model -> its card, in order of first appearance.
    """
    found: dict[str, list[_Asked]] = {}
    for asked in _each(runs):
        found.setdefault(asked.record.spec, []).append(asked)
    return {spec: _card(spec, results) for spec, results in found.items()}


def _each(runs: Sequence[Run]) -> Iterator[_Asked]:
    for run in runs:
        records = {record.spec: record for record in run.info.models}
        for scores in regroup(run.scores):
            yield _Asked(run, records[scores.setting.model], scores)


def _card(spec: str, results: Sequence[_Asked]) -> str:
    import yaml

    index = [{"name": one_line(spec), "results": [_result(asked) for asked in results if asked.metrics]}]
    front = yaml.safe_dump({"model-index": index}, sort_keys=False, allow_unicode=True, width=110)
    return "\n".join(["---", f"{front}---", "", "## Reliance on the background", *map(_section, results)])


def _result(asked: _Asked) -> dict[str, Any]:
    info, setting = asked.run.info, asked.scores.setting
    task, title = _TASKS.get(asked.record.kind, _ZERO_SHOT)
    how = {name: one_line(setting.text(name)) for name in setting._fields[1:] if getattr(setting, name)}
    name = one_line(info.benchmark.name)
    return {
        "task": {"type": task, "name": title},
        "dataset": {
            "name": name,
            "type": re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "benchmark",
            "revision": info.benchmark.version,
            "args": {**how, "photos": info.counts.photos},
        },
        "metrics": [_metric(kind, name, figure) for kind, name, _, figure in asked.metrics],
    }


def _metric(kind: str, name: str, figure: Estimate) -> dict[str, Any]:
    said = {"low": figure.low, "high": figure.high}
    interval: dict[str, Any] = {key: round(value, 4) for key, value in said.items() if value is not None}
    if interval:
        interval["confidence"] = 0.95
    if figure.clusters is not None:
        interval["clusters"] = figure.clusters
    return {
        "type": kind,
        "value": round(figure.value or 0.0, 4),
        "name": name,
        "args": {**interval, "photos": figure.n},
    }


def _section(asked: _Asked) -> str:
    info = asked.run.info
    rows = [f"| {row} | {figure.text} | {figure.interval} |" for _, _, row, figure in asked.metrics]
    parts = [
        f"{markdown(headline(asked.scores))}.",
        "\n".join(["| | value | 95 % interval |", "| :--- | ---: | ---: |", *rows]),
        f"{_meaning(asked)}{_asked(asked)}",
        _bullets("Limits", [*_stamp(info.as_published), *info.benchmark.notes]),
        _bullets("Warnings", _own_warnings(asked)),
        _repeat(asked),
        f"The method is that of Wang et al., NeurIPS 2024 ([arXiv 2403.11497]({PAPER})).",
    ]
    return "\n" + "\n\n".join(part for part in parts if part) + "\n"


def _meaning(asked: _Asked) -> str:
    if not asked.scores.has_groups:
        return ""
    return (
        "Each class is photographed on a common background and on a counter background, where models do"
        " worse. The drop, in points, is the mean over classes of the difference between the two.\n\n"
    )


def _asked(asked: _Asked) -> str:
    info, setting = asked.run.info, asked.scores.setting
    classes = asked.run.predictions["class_index"].n_unique()
    clusters = asked.scores.photos.clusters
    settings = (("names", setting.names), ("prompts", setting.prompts), ("protocol", setting.protocol))
    how = ", ".join(f"{title} {markdown(value)}" for title, value in settings if value)
    from_clusters = f" in {count(clusters)} clusters, which the intervals draw" if clusters else ""
    return (
        f"**What was asked.** {count(info.counts.photos)} photos of {count(classes)} classes{from_clusters}:"
        f" {markdown(info.benchmark.name)}, version {code(info.benchmark.version[:12])}."
        f" Label space {markdown(info.label_space.name)} ({count(info.label_space.size)} names), {how}."
        f" Run on {markdown(info.device)} in {markdown(info.precision)}, {info.created[:10]}."
    )


def _repeat(asked: _Asked) -> str:
    name = asked.run.info.benchmark.name
    where = "" if name in ("stamps", "counteranimal") else ", with the path of the benchmark for BENCHMARK"
    sentence = markdown(f"Repeat it with CounterGround {asked.run.info.counterground_version}{where}:")
    return f"{sentence} {code(repeat_command(asked.run, asked.record.spec))}"


def _stamp(as_published: bool) -> list[str]:
    return ["Loaded as the paper seems to have loaded it, not as the weights were trained."] * as_published


def _own_warnings(asked: _Asked) -> list[str]:
    """The warnings of the run without those that begin with the name of another model."""
    others = [f"{record.spec}: " for record in asked.run.info.models if record.spec != asked.record.spec]
    return [text for text in asked.run.info.warnings if not text.startswith(tuple(others))]


def _bullets(title: str, sentences: Sequence[str]) -> str:
    return "\n".join([f"**{title}.**", "", *(f"- {markdown(s)}" for s in sentences)]) if sentences else ""
