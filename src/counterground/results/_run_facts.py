"""What was run and on what: the facts of run.json in reading order, and the command that repeats them."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

from counterground.benchmarks import benchmark_names
from counterground.photos import LABEL_SPACE_FILE
from counterground.results._run import Run
from counterground.results._schema import BenchmarkRecord, ModelRecord
from counterground.settings import RECORDS, find_setting
from counterground.text import count

_LABEL_SPACES = ("benchmark", "imagenet")


_NOT_FACTS = {"command", "settings", "models", "templates", "texts", "request", "recorded"}
_NOT_FACTS |= {"warnings", "model_warnings", "intervention"}
_OF_PHOTOS = {"name", "version", "n_photos", "sampled"}
Texts = list[tuple[str, str]]


@dataclass(frozen=True)
class RunFacts:
    """A run for the page: the command that repeats it, what else ``run.json`` says, and its models.

    ``unnamed`` are the photos that the command calls ``BENCHMARK`` and ``TRAINING``.
    """

    name: str
    command: str
    unnamed: dict[str, BenchmarkRecord]
    facts: Texts
    models: list[ModelRecord]

    @staticmethod
    def about(model: ModelRecord) -> Texts:
        """Return names and values of what is recorded of a model."""
        return _flat({**model.model_dump(include={"spec", "kind", "fingerprint"}), **model.description})


def run_facts(run: Run) -> RunFacts:
    """Collect everything of ``run.json`` that a reader needs to judge or repeat the run."""
    info = run.info
    record = info.model_dump(exclude=_NOT_FACTS)
    for name in ("benchmark", "train"):
        record[name] = {key: value for key, value in (record[name] or {}).items() if key in _OF_PHOTOS}
    given = {"BENCHMARK": info.source, "TRAINING": info.train}
    unnamed = {word: of for word, of in given.items() if of is not None and not _is_built_in(of.name)}
    return RunFacts(run.path.name or str(run.path), repeat_command(run), unnamed, _flat(record), info.models)


def repeat_command(run: Run, only: str | None = None) -> str:
    """Return the command line for the same run, or for one model of it by name, quoted for a shell.

    A benchmark that is not built in is ``BENCHMARK``, what heads were fitted on is ``TRAINING``: the location
    of a folder or manifest is not recorded. A model that was an object in memory is ``MODULE:FUNCTION``,
    which has to create it.
    """
    info = run.info
    benchmark = info.source.name if _is_built_in(info.source.name) else "BENCHMARK"
    mitigated = [model for model in info.models if model.stated("mitigation", dict)]
    words = ["counterground", info.command, benchmark]
    if files := {model.stated("predictions", str) for model in info.models} - {None}:
        words += ["--predictions", *map(str, files)]
    models = [
        model
        for model in info.models
        if only in (None, model.name) and model not in mitigated and model.kind != "predictions"
    ]
    if mitigated:
        models = models or info.models[:1]
    for model in models:
        spec = "MODULE:FUNCTION" if model.in_memory else model.spec
        words += ["-m", spec if model.name == model.spec else f"{model.name}={spec}"]
    for model in mitigated:
        words += ["--method", str((model.stated("mitigation", dict) or {}).get("method", "METHOD"))]
    if info.benchmark.sampled:
        words += ["--limit", str(info.benchmark.sampled)]
    words += _settings(run)
    if info.train:
        words += ["-X", f"train={info.train.name if _is_built_in(info.train.name) else 'TRAINING'}"]
    return shlex.join([*words, "--out", run.path.name or "run"])


def _settings(run: Run) -> list[str]:
    """The settings that the command was given, as options or after ``-X``."""
    info = run.info
    record, given = RECORDS[info.command], dict(info.settings)
    given.pop("referee", None)
    # What a referee or a file chose is kept in the run and can be passed as it is. A file that another run
    # saved has the name of that run's label space.
    space = info.candidates
    if space.name not in _LABEL_SPACES or space.source.endswith(".json"):
        given["label_space"] = f"{run.path.name or '.'}/{LABEL_SPACE_FILE}"
    words = []
    for name, value in given.items():
        setting = find_setting(record, name, "run.json")
        text = setting.written(value)
        option = name in record.usual and setting.kind is not bool
        words += [setting.option, text] if option else ["-X", f"{setting.option[2:]}={text}"]
    return words


def _is_built_in(benchmark: str) -> bool:
    return benchmark.partition("?")[0] in benchmark_names()


def _flat(record: dict[str, Any]) -> Texts:
    return [
        (key.replace("_", " ").capitalize(), _text(value))
        for key, value in record.items()
        if value not in (None, "", [], {})
    ]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value)
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_text(item)}" for key, item in value.items() if item not in (None, {}))
    if isinstance(value, (list, tuple)):
        return "; ".join(_text(item) for item in value)
    return str(value)
