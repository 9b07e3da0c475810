"""The scores of a run in the forms of others: Every Eval Ever, the Hugging Face hub and timm."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, NamedTuple
from uuid import UUID

import polars as pl

from counterground.errors import CounterGroundError
from counterground.files import is_file, write_text
from counterground.metrics import Estimate
from counterground.photos import LABEL_SPACE_FILE, LabelSpace
from counterground.results import ModelScores, Run, regroup
from counterground.sharing._bundle import without_paths

ResultFormat = Literal["bundle", "every-eval-ever", "hub", "timm"]
EVERY_EVAL_EVER = "0.3.0"
"""Version of the schema of Every Eval Ever."""
_UNSAFE = re.compile(r"[^\w.+-]+", re.ASCII)
# Of transforms as PyTorch libraries write them: timm and OpenCLIP, or torchvision's presets.
_RESIZED = re.compile(r"(?:Resize\w*\(size|resize_size)=[\[(]?(\d+)")
_CROPPED = re.compile(r"(?:CenterCrop\w*\(size|crop_size)=[\[(]?(\d+)")
_INTERPOLATION = re.compile(r"interpolation=(?:InterpolationMode\.)?(\w+)")


class _Figure(NamedTuple):
    """A score under the name that all forms give it; ``lowest`` is the least it can be: 0, or -1."""

    name: str
    estimate: Estimate
    lowest: int


def write_results(run: Run, format: ResultFormat, out: Path) -> Path:  # noqa: A002 - as the option
    """Write the scores of a run of one model, without local paths; return the file, which is below ``out``.

    Args:
        run: a run of ``evaluate`` on all photos of its benchmark.
        format: ``every-eval-ever``, ``hub`` or ``timm``.
        out: the folder.

    Raises:
        UsageError: see `without_paths`.
        CounterGroundError: the file cannot be written, or is there and holds other results.
    """
    shared = without_paths(run, out)
    if format == "hub":
        return _write_hub(shared)
    if format == "timm":
        return _write_timm(shared)
    return _write_every_eval_ever(shared, LabelSpace.load(run.path / LABEL_SPACE_FILE).names)


def _figures(run: Run) -> list[_Figure]:
    """Return what is known of accuracies, means over classes, and of the contrasts of the design."""
    figures = []
    for scores in regroup(run.estimates()):
        figures.append(_Figure(_accuracy(scores.setting.answer_score), scores.get("accuracy"), 0))
        for contrast in run.design.contrasts:
            about = "" if contrast.sides_apart else f"{contrast.name}: "
            names = (*(f"{about}{side}" for side in contrast.titles), contrast.name)
            for name, estimate, lowest in zip(names, scores.of(contrast), (0, 0, -1), strict=True):
                figures.append(_Figure(_named(name, scores.setting.answer_score), estimate, lowest))
    return [figure for figure in figures if figure.estimate.value is not None]


def _named(score: str, answer_score: str | None) -> str:
    return score if answer_score is None else f"{score} by {answer_score}"


def _accuracy(answer_score: str | None) -> str:
    return _named("accuracy", answer_score)


def _write_every_eval_ever(run: Run, names: Sequence[str]) -> Path:
    """Write scores as JSON and answers as JSON lines, where the data store of Every Eval Ever has them.

    Who evaluated, and whose model it is, is not known. ``names`` are those that compete. The same run gives
    the same files.
    """
    info, (model,) = run.info, run.info.models
    developer, name = _identity(model.spec)
    created = str(int(datetime.fromisoformat(info.created).timestamp()))
    about = {
        "schema_version": EVERY_EVAL_EVER,
        "evaluation_id": f"{info.benchmark.name}/{developer}/{name}/{created}",
    }
    samples = [{**about, "model_id": f"{developer}/{name}", **sample} for sample in _samples(run, names)]
    lines = "".join(f"{json.dumps(sample)}\n" for sample in samples)
    digest = sha256(lines.encode()).hexdigest()
    folder = Path("data", f"counterground-{_plain(info.benchmark.name)}", developer, name)
    stem = folder / str(UUID(digest[:32], version=4))
    record = {
        **about,
        "evaluation_timestamp": info.created,
        "retrieved_timestamp": created,
        "source_metadata": {
            "source_type": "evaluation_run",
            "source_organization_name": "unknown",
            "evaluator_relationship": "other",
        },
        "eval_library": {"name": "counterground", "version": info.counterground_version},
        "model_info": {
            "name": model.name,
            "id": f"{developer}/{name}",
            "additional_details": {
                "deployment_type": "self_deployed",
                "model_availability": "unknown",
                "specification": model.spec,
                "fingerprint": model.fingerprint,
            },
        },
        "evaluation_results": [_result(run, figure) for figure in _figures(run)],
        "detailed_evaluation_results": {
            "format": "jsonl",
            "file_path": f"{stem.as_posix()}_samples.jsonl",
            "hash_algorithm": "sha256",
            "checksum": digest,
            "total_rows": len(samples),
        },
    }
    _write_new(run.path / f"{stem}_samples.jsonl", lines)
    return _write_new(run.path / f"{stem}.json", json.dumps(record, indent=2))


def _result(run: Run, figure: _Figure) -> dict[str, Any]:
    """Return a score as Every Eval Ever has it: a fraction; less of a difference is better."""
    estimate, benchmark = figure.estimate, run.info.benchmark
    score: dict[str, Any] = {"score": estimate.value}
    if estimate.low is not None:
        interval = {
            "lower": estimate.low,
            "upper": estimate.high,
            "confidence_level": estimate.confidence,
            "method": "for other photos of the same classes",
        }
        score["uncertainty"] = {"confidence_interval": interval, "num_samples": estimate.n}
    return {
        "evaluation_result_id": figure.name,
        "evaluation_name": figure.name,
        "source_data": {
            "dataset_name": benchmark.name,
            "source_type": "other",
            "additional_details": {"version": benchmark.version, "setting": _setting(run)},
        },
        "metric_config": {
            "metric_id": f"counterground.{figure.name}",
            "metric_unit": "proportion",
            "lower_is_better": figure.lowest < 0,
            "score_type": "continuous",
            "min_score": figure.lowest,
            "max_score": 1,
        },
        "score_details": score,
    }


def _samples(run: Run, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield what Every Eval Ever has of an answer; a photo is known by its number and by its hash."""
    for row in run.predictions.iter_rows(named=True):
        name, true = _accuracy(row["answer_score"]), row["true_index"]
        about = {key: row[key] for key in ("class_name", "background", "group") if row[key] is not None}
        answer = row["predicted_name"]
        yield {
            "evaluation_name": name,
            "evaluation_result_id": name,
            "sample_id": row["path"],
            "interaction_type": "single_turn",
            "input": {
                "raw": row["photo_id"],
                "reference": [row["class_name"] if true is None else names[true]],
            },
            "output": {"raw": [] if answer is None else [answer]},
            "answer_attribution": [],
            "evaluation": {"score": float(row["correct"]), "is_correct": row["correct"]},
            "metadata": about,
        }


def _write_hub(run: Run) -> Path:
    """Write ``.eval_results/*.yaml`` of a model's repository: fractions, one entry for each score.

    ``dataset.id`` is the name of the benchmark here, which need not be on the hub. ``dataset.revision`` would
    be a commit there: notes have the hash of the photos.
    """
    info = run.info
    entries = []
    for name, estimate, _ in _figures(run):
        notes = [f"benchmark version {info.benchmark.version}", _setting(run)]
        if estimate.low is not None:
            notes.insert(0, f"{estimate.confidence:.0%} interval {estimate.low:.4f} to {estimate.high:.4f}")
        entry = {"dataset": {"id": info.benchmark.name, "task_id": name}, "value": estimate.value}
        entries.append({**entry, "date": info.created, "notes": "; ".join(notes)})
    file = run.path / ".eval_results" / f"counterground-{_plain(info.benchmark.name)}.yaml"
    return _write_new(file, json.dumps(entries, indent=2) + "\n")  # JSON is YAML


def _write_timm(run: Run) -> Path:
    """Write a CSV with the columns of timm's ``validate.py``: percent, and millions of parameters.

    ``top1`` and ``top5`` are means over classes, which timm takes over photos; they are the same if classes
    have equally many. How photos were resized is read from the transform that ran, and empty if it does not
    tell.
    """
    (model,) = run.info.models
    size, crop, interpolation = _preprocessing(str(model.description.get("preprocessing")))
    parameters = model.stated("parameters", int)
    about = {
        "param_count": None if parameters is None else round(parameters / 1e6, 2),
        "img_size": size,
        "crop_pct": crop,
        "interpolation": interpolation,
    }
    rows = [{**_percents(model.name, scores), **about} for scores in regroup(run.estimates())]
    file = run.path / f"results-{_plain(run.info.benchmark.name)}.csv"
    return _write_new(file, pl.DataFrame(rows, infer_schema_length=None).write_csv())


def _percents(name: str, scores: ModelScores) -> dict[str, Any]:
    row: dict[str, Any] = {"model": _named(name.removeprefix("timm:"), scores.setting.answer_score)}
    for column, metric in (("top1", "accuracy"), ("top5", "top5_accuracy")):
        share = scores.get(metric).value
        row[column] = None if share is None else round(100 * share, 4)
        row[f"{column}_err"] = None if share is None else round(100 - 100 * share, 4)
    return row


def _preprocessing(text: str) -> tuple[int | None, float | None, str | None]:
    """Return what a model sees: its side (pixels), its share of the resized photo, and the interpolation."""
    resized, cropped, way = (pattern.search(text) for pattern in (_RESIZED, _CROPPED, _INTERPOLATION))
    size = cropped or resized
    share = int(size[1]) / int(resized[1]) if size and resized else None
    return int(size[1]) if size else None, share, way[1].lower() if way else None


def _setting(run: Run) -> str:
    info = run.info
    return (
        f"names {info.names}, prompts {info.prompts}, {info.candidates.size:,} candidates "
        f"({info.candidates.name}), {info.precision}, CounterGround {info.counterground_version}"
    )


def _identity(spec: str) -> tuple[str, str]:
    """Return developer and name: those of a repository of the hub, else the library and what it loads."""
    library, colon, name = spec.replace("open_clip:hf-hub:", "hf-hub:").partition(":")
    if library in ("hf", "hf-hub") and "/" in name:
        library, _, name = name.partition("/")
    return (_plain(library), _plain(name)) if colon else ("local", _plain(spec))


def _plain(text: str) -> str:
    return _UNSAFE.sub("_", text).strip("._")


def _write_new(path: Path, text: str) -> Path:
    if is_file(path) and path.read_bytes() != text.encode():
        raise CounterGroundError(f"{path} holds other results: choose another --out.")
    write_text(path, text)
    return path
