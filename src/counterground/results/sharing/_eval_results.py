"""Evaluation results for the Hugging Face hub: ``.eval_results/`` of a model, ``eval.yaml`` of a data set.

The formats: https://huggingface.co/docs/hub/eval-results
"""

from __future__ import annotations

from collections.abc import Sequence

from counterground.errors import UsageError, needs_extra
from counterground.results._model_scores import Setting
from counterground.results._numbers import Estimate, count
from counterground.results._run import AnyRuns, Run
from counterground.results.sharing._model_card import WITH_GROUPS, WITHOUT_GROUPS, ModelResult, results_of
from counterground.text import one_line

FRAMEWORK = "counterground"


def eval_results(runs: AnyRuns, dataset: str) -> dict[str, str]:
    """Return, for each model, the YAML of a file below ``.eval_results/`` in the model's repository.

    One entry per figure: the accuracies on common and counter photos and the drop, or the accuracy if there
    are no groups. Values are fractions. The interval, the setting and the version of the photos are in
    ``notes``, since the format has no place for them. ``revision`` is left out: a run does not know the
    commit of the data set.

    Args:
        runs: runs or their folders.
        dataset: the benchmark's data set on the hub, ``OWNER/NAME``, whose ``eval.yaml`` has our tasks.

    Returns:
        name of the model -> YAML, in order of first appearance.

    Raises:
        UsageError: no run, one given twice, one of composites, runs on several benchmarks, two with different
            figures for a model of one name, on the same photos in the same setting, or ``dataset`` is not the
            name of a data set on the hub.
        CounterGroundError: a run cannot be read.
    """
    with needs_extra("models"):
        import yaml
        from huggingface_hub import __version__
    try:
        from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml
    except ImportError as error:
        raise UsageError(
            f"Evaluation results need huggingface_hub 1.4 or newer, and {__version__} is installed."
        ) from error

    _check_name(dataset)
    results = list(results_of(runs))
    _check_benchmark([result.run for result in results], dataset)
    found: dict[str, list[EvalResultEntry]] = {}
    seen: set[Setting] = set()
    for result in results:
        if result.scores.setting in seen:  # in a run with other contrasts
            continue
        seen.add(result.scores.setting)
        for row, figure in result.metrics:
            entry = EvalResultEntry(
                dataset_id=dataset,
                task_id=row.task,
                value=round(figure.value or 0.0, 4),
                date=result.run.info.created,
                notes=_notes(result, figure),
            )
            found.setdefault(result.record.name, []).append(entry)
    return {
        name: yaml.safe_dump(
            eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True, width=110
        )
        for name, entries in found.items()
    }


def eval_yaml(name: str, description: str, *, grouped: bool) -> str:
    """Return the ``eval.yaml`` that registers a hub data set as a benchmark, with our figures as tasks."""
    import yaml

    rows = WITH_GROUPS if grouped else WITHOUT_GROUPS
    values = (
        "Values are fractions; of accuracy_drop, the lower is better." if grouped else "Values are fractions."
    )
    content = {
        "name": one_line(name),
        "description": f"{one_line(description).rstrip('.')}. {values}",
        "evaluation_framework": FRAMEWORK,
        "tasks": [{"id": row.task, "config": "default", "split": "test"} for row in rows],
    }
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)  # type: ignore[no-any-return]


def _check_name(dataset: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(dataset)
    except HFValidationError as error:
        raise UsageError(f"{dataset!r} is not a data set of the hub: {one_line(str(error))}") from error
    if "/" not in dataset:
        raise UsageError(f"{dataset!r} is not a data set of the hub: write OWNER/NAME.")


def _check_benchmark(runs: Sequence[Run], dataset: str) -> None:
    """Refuse runs on several benchmarks, or versions of one: a data set is one of them."""
    benchmarks = {run.info.benchmark.version: run.info.benchmark.name for run in runs}
    if len(benchmarks) > 1:
        listed = ", ".join(f"{name} (version {version[:8]})" for version, name in benchmarks.items())
        raise UsageError(
            f"{dataset} is one benchmark, and these runs are on {len(benchmarks)}: {one_line(listed)}. "
            "Give the runs on that of the data set."
        )


def _notes(result: ModelResult, figure: Estimate) -> str:
    info, setting = result.run.info, result.scores.setting
    given = [name for name in setting._fields[1:] if getattr(setting, name)]
    how = ", ".join(f"{name.replace('_', ' ')} {setting.text(name)}" for name in given)
    interval = f"95 % interval {figure.interval} %" if figure.interval else "no interval"
    clusters = "" if figure.clusters is None else f" in {count(figure.clusters)} clusters"
    return one_line(
        f"{interval}; {count(figure.n)} photos{clusters}; {how};"
        f" photos version {info.benchmark.version[:12]}; CounterGround {info.counterground_version}"
    )
