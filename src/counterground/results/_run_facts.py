"""What was run and on what: the facts of run.json in reading order, and the command that repeats them."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from counterground.benchmarks import benchmark_names
from counterground.photos import LABEL_SPACE_FILE
from counterground.results._run import Run
from counterground.results._schema import BenchmarkRecord
from counterground.settings import RECORDS, find_setting
from counterground.text import count, duration

_LABEL_SPACES = ("benchmark", "imagenet")


@dataclass(frozen=True)
class ModelFacts:
    """One model of a run: its record, and its description as (name, value) texts."""

    name: str
    spec: str
    kind: str
    fingerprint: str
    in_memory: bool
    description: list[tuple[str, str]]


@dataclass(frozen=True)
class RunFacts:
    """A run for the page: (name, value) texts, its models and the command.

    ``benchmark`` and ``version`` are of the one that the command needs; ``built_in`` says whether the command
    names it; else it says ``BENCHMARK``. ``training`` is what it calls ``TRAINING``.
    """

    name: str
    benchmark: str
    version: str
    built_in: bool
    facts: list[tuple[str, str]]
    models: list[ModelFacts]
    command: str
    training: BenchmarkRecord | None = None


def run_facts(run: Run) -> RunFacts:
    """Collect everything of ``run.json`` that a reader needs to judge or repeat the run."""
    info = run.info
    counts, space = info.counts, info.candidates
    ties = ", ".join(f"{name}: {count(n)}" for name, n in counts.ties.items()) or "none"
    unmatched = ", ".join(f"{name}: {count(n)}" for name, n in counts.unmatched.items())
    photos = count(counts.photos)
    if counts.photos != info.benchmark.n_photos:
        photos += f" of {count(info.benchmark.n_photos)} in the manifest"
    facts = [
        ("Benchmark", info.benchmark.name),
        ("Benchmark version", info.benchmark.version),
        ("Photos", photos),
        ("Unreadable photos", _unreadable(counts.unreadable)),
        ("Converted to RGB", count(counts.converted_to_rgb)),
        ("Exact top-2 ties", ties),
        *([("Answers that name no class", unmatched)] if unmatched else []),
        *_positions(run),
        ("Label space", f"{space.name} ({count(space.size)} names): {space.source}"),
        *((name.capitalize(), getattr(info, name)) for name in info.read_texts),
        *([("Heads fitted on", f"{info.train.name}@{info.train.version[:8]}")] if info.train else []),
        ("Device", info.device),
        ("Precision", info.precision),
        ("Batch size", count(info.batch_size)),
        ("Threads", count(info.threads)),
        ("Made", info.created),
        ("Took", duration(info.seconds)),
        ("CounterGround", info.counterground_version),
        ("Python", info.python),
        ("Platform", info.platform),
        ("Libraries", ", ".join(f"{name} {version}" for name, version in sorted(info.libraries.items()))),
    ]
    models = [
        ModelFacts(m.name, m.spec, m.kind.replace("_", " "), m.fingerprint, m.in_memory, _flat(m.description))
        for m in info.models
    ]
    source, train = info.source, info.train
    return RunFacts(
        run.path.name or str(run.path),
        source.name,
        source.version,
        _is_built_in(source.name),
        facts,
        models,
        repeat_command(run),
        None if train is None or _is_built_in(train.name) else train,
    )


def _positions(run: Run) -> list[tuple[str, str]]:
    """Say what the order of options did to each model that chose among them by letter."""
    lines = []
    for name, records in run.info.positions.items():
        for each in records:
            shares = zip(ascii_uppercase, each.chosen, strict=False)
            lines.append(f"{name}: {', '.join(f'{at} {100 * share:.0f} %' for at, share in shares)}")
    return [("Positions chosen, all rotations of the options", "; ".join(lines))] if lines else []


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
    models = [model for model in info.models if only in (None, model.name) and model not in mitigated]
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
    if space.name not in (*_LABEL_SPACES, "options") or space.source.endswith(".json"):
        given["label_space"] = f"{run.path.name or '.'}/{LABEL_SPACE_FILE}"
    words = []
    for name, value in given.items():
        setting = find_setting(record, name, "run.json")
        text = setting.written(value)
        words += [setting.option, text] if name in record.usual else ["-X", f"{setting.option[2:]}={text}"]
    return words


def _is_built_in(benchmark: str) -> bool:
    return benchmark.partition("?")[0] in benchmark_names()


def _unreadable(n: int) -> str:
    return "0" if n == 0 else f"{count(n)}, listed with reasons in unreadable.csv of the run"


def _flat(description: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (key.replace("_", " "), _text(value))
        for key, value in description.items()
        if value not in (None, [], {})
    ]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value)
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_text(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(item) for item in value)
    return str(value)
