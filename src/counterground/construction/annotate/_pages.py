"""The pages, drawn on the server; names are escaped by the templates."""

from __future__ import annotations

import shlex
from typing import Any

import polars as pl

from counterground.construction.annotate._labels import (
    ANSWER_KEYS,
    GUIDE,
    MOST_GUIDANCE,
    MOST_LETTERS,
    MOST_PICTURES,
    choices,
    guidance,
    guide_addresses,
)
from counterground.construction.annotate._state import AppState
from counterground.construction.annotate.web import render
from counterground.construction.pool import IMPORTED, TASKS, AnnotatorProgress
from counterground.metrics import agreement

_LISTED = 200  # adjudications, each with its photo
_TASK_TITLES = {"review": "Review", "background": "Backgrounds"}


def label_page(state: AppState, annotator: str, task: str, mode: str) -> str:
    """Return the page that shows one photo after another; ``mode`` is "label" or "adjudicate"."""
    adjudicating = mode == "adjudicate"
    settled = state.queue.adjudications(task) if adjudicating else []
    hints = {
        "review": f"{_command(state, 'label')} --task background",
        "background": f"counterground discover {shlex.quote(state.named)} --referee MODEL --out BENCHMARK",
    }
    return render(
        "label.html.j2",
        _shared(state, annotator, "disagreements" if adjudicating else "label", task)
        | {
            "mode": mode,
            "choices": choices(state.pool, task),
            "answer_keys": ANSWER_KEYS,
            "ranked": state.ranked and task == "review",
            "suggester": state.suggester.spec if state.suggester and task == "background" else "",
            "adjudications": settled[:_LISTED],
            "adjudicated": len(settled),
            "hint": hints[task],
            "another": f"{_command(state, 'label')} --task {task} --annotator NAME",
        },
    )


def progress_page(state: AppState, annotator: str) -> str:
    """Return the page with the progress of each task, per class and per annotator."""
    found = []
    for task in TASKS:
        classes = state.queue.progress(task)
        people = state.queue.annotators(task, state.sessions.annotators)
        total = {
            name: sum(getattr(row, name) for row in classes)
            for name in ("photos", "complete", "begun", "disagreed")
        }
        found.append({"task": task, "classes": classes, "people": people, "total": total})
    return render(
        "progress.html.j2", _shared(state, annotator, "progress", "") | {"found": found, "left": time_left}
    )


def time_left(person: AnnotatorProgress) -> float | None:
    """Return an estimate of the seconds an annotator still needs, or None if nothing was timed."""
    return None if person.pace is None else person.pace * person.left


def agreement_page(state: AppState, annotator: str) -> str:
    """Return the page with the agreement of annotators, per task, class and label."""
    votes = state.pool.votes_by_cluster()
    table = agreement(votes)
    imported = set(votes.filter(pl.col("annotator") == IMPORTED)["task"])
    found = {
        task: {
            "all": rows.filter(pl.col("class_name").is_null() & pl.col("label").is_null()).to_dicts(),
            "classes": rows.filter(pl.col("class_name").is_not_null()).to_dicts(),
            "labels": rows.filter(pl.col("label").is_not_null()).to_dicts(),
            "imported": task in imported,
        }
        for task in TASKS
        if not (rows := table.filter(pl.col("task") == task)).is_empty()
    }
    return render("agreement.html.j2", _shared(state, annotator, "agreement", "") | {"found": found})


def labels_page(state: AppState, annotator: str) -> str:
    """Return the page on which the label space and the guidance texts are edited."""
    uses = state.queue.uses("background")
    texts = guidance(state.pool)
    return render(
        "labels.html.j2",
        _shared(state, annotator, "labels", "")
        | {
            "choices": choices(state.pool, "background"),
            "reasons": choices(state.pool, "review"),
            "uses": uses,
            "classes": [
                (
                    row.class_name,
                    texts.get(row.class_name, ""),
                    guide_addresses(state.pool, row.class_name),
                    f"{GUIDE}/{state.pool.class_folder(row.class_name)}/",
                )
                for row in state.queue.progress("review")
            ],
            "most_pictures": MOST_PICTURES,
            "longest": {"label": MOST_LETTERS, "guidance": MOST_GUIDANCE},
        },
    )


def _shared(state: AppState, annotator: str, page: str, task: str) -> dict[str, Any]:
    return {
        "annotator": annotator,
        "key": state.key,
        "page": page,
        "task": task,
        "tasks": _TASK_TITLES,
        "home": state.task,
        "pool_name": state.pool.root.name,
        "refresh": "",
    }


def _command(state: AppState, name: str) -> str:
    return f"counterground {name} {shlex.quote(state.named)}"
