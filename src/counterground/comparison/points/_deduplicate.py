"""Results that several runs share, kept once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, NamedTuple

from counterground.metrics import COMPETING, KEYS, Answers
from counterground.results import Run

_Result = tuple[Run, dict[str, Any]]


class Deduplicated(NamedTuple):
    """A result: the first run that holds it, its row (``source`` names all runs), and the row of each run."""

    run: Run
    row: dict[str, Any]
    held: tuple[_Result, ...]


def deduplicate_results(rows: Sequence[_Result]) -> list[Deduplicated]:
    """Merge rows that are one result, in order of first appearance.

    Rows are one result if they have equal weights (name and fingerprint), the same version of a benchmark,
    the same competing names and the same answer to every photo. They must also have the same names and
    prompts, except for classifiers and fitted heads, which read neither.
    """
    runs = {id(run): run for run, _ in rows}
    names = {key: competing_names(run, runs.values()) for key, run in runs.items()}
    keys: list[Hashable] = [
        _key_of(run, row, names[id(run)]) or place for place, (run, row) in enumerate(rows)
    ]
    times = Counter(keys)
    groups: dict[Any, list[_Result]] = {}
    for key, (run, row) in zip(keys, rows, strict=True):
        answers = answers_key(answers_of(run, row)) if times[key] > 1 else None
        groups.setdefault((key, answers), []).append((run, row))
    return [
        Deduplicated(
            held[0][0], {**held[0][1], "source": ", ".join(row["source"] for _, row in held)}, tuple(held)
        )
        for held in groups.values()
    ]


def competing_names(run: Run, runs: Iterable[Run]) -> str:
    """Return what runs on one benchmark share if the same names compete, however prompts write them.

    A built-in label space has a version for each way of writing its names. Where one way has several
    versions, they are told apart.
    """
    info, space = run.info, run.info.candidates
    alike = {
        other.info.candidates.version
        for other in runs
        if (other.info.benchmark.version, other.info.candidates.name, other.info.names)
        == (info.benchmark.version, space.name, info.names)
    }
    return f"{space.name} {space.source if space.is_built_in and len(alike) == 1 else space.version}"


def answers_of(run: Run, row: dict[str, Any]) -> Answers:
    """Return what the model of a row answered."""
    return run.answers[tuple(row[name] for name in KEYS)]


def _key_of(run: Run, row: dict[str, Any], names: str) -> tuple[Any, ...] | None:
    """Return what rows of one result share besides the answers; None if the run does not list the model.

    ``names`` is what `competing_names` returns.
    """
    record = next((record for record in run.info.models if record.name == row["model"]), None)
    if record is None:
        return None
    reads = (row["names"], row["prompts"]) if record.reads_names else ()
    places = (run.info.benchmark.version, names, row[COMPETING])
    return (
        record.name,
        record.fingerprint,
        *places,
        *(row[name] for name in ("protocol", "answer_score")),
        reads,
    )


def answers_key(found: Answers) -> tuple[bytes, bytes]:
    """Return what equal answers to the same photos share."""
    return found.photos.fingerprint, found.rows.hash_rows(seed=0).to_numpy().tobytes()
