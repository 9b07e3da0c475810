"""The driver's side: missing blocks go to the workers, and what they return goes into the store."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from counterground.errors import CounterGroundError, UsageError
from counterground.http import is_offline
from counterground.inference.cluster._pool import WorkerPool
from counterground.inference.cluster._ray import ray_cluster, room
from counterground.inference.cluster._worker import Answer, Plan, Recipe, Task, versions
from counterground.inference.encoding import EncodingJob, PhotoFile, missing_blocks
from counterground.inference.request import Settings
from counterground.models import Encoder, NamedModel
from counterground.photos import is_intact


def encode_on_ray(
    models: Sequence[tuple[NamedModel, Encoder]],
    settings: Settings,
    jobs: Sequence[EncodingJob],
    advance: Callable[[int], None],
) -> None:
    """Encode and store on a Ray cluster what jobs over the same photos, one for each model, miss.

    Blocks are stored as they arrive, in any order. If a worker or node is lost, its block goes to another.

    Raises:
        UsageError: an object in memory cannot be sent, or no node has room for a worker.
        CounterGroundError: the cluster does not answer; a worker has other versions or weights, cannot read
            photos that this machine can, or dies repeatedly; a model fails.
    """
    missing = {number: (photos, wanting) for number, photos, wanting in missing_blocks(jobs)}
    place = {id(job): index for index, job in enumerate(jobs)}
    tasks = [
        Task(
            number,
            tuple((photo, path.absolute()) for photo, path in photos),
            tuple(place[id(job)] for job in wanting),
        )
        for number, (photos, wanting) in missing.items()
    ]
    if not tasks:
        return
    with ray_cluster() as ray, closing(_answers(ray, _plan(ray, models, settings), tasks)) as answers:
        for answer in answers:
            photos, wanting = missing[answer.number]
            _check(answer, photos)
            for job, block in zip(wanting, answer.blocks, strict=True):
                job.keep(answer.number, block, permanent=not answer.transient)
            advance(len(photos))


def _plan(ray: Any, models: Sequence[tuple[NamedModel, Encoder]], settings: Settings) -> Plan:
    import torch

    kinds = [model.device.partition(":")[0] for _, model in models]
    device = next((kind for kind in kinds if kind != "cpu"), "cpu")  # an ONNX file runs there beside a GPU
    return Plan(
        recipes=tuple(_recipe(ray, given, model) for given, model in models),
        settings=replace(
            settings, device=device, show_progress=False, offline=settings.offline or is_offline()
        ),
        threads=torch.get_num_threads(),
        folder=str(Path.cwd()),
        search=tuple(sys.path),
        versions=versions(),
    )


def _recipe(ray: Any, given: NamedModel, model: Encoder) -> Recipe:
    try:
        sent = ray.cloudpickle.dumps(given)
    except Exception as error:
        raise UsageError(
            f"{given.name} cannot be sent to other processes ({type(error).__name__}: {error}): give it as "
            "FILE.py:FUNCTION, or leave out --engine ray."
        ) from error
    return Recipe(given.name, sent, model.description["runtime"], model.fingerprint)


def _answers(ray: Any, plan: Plan, tasks: Sequence[Task]) -> Generator[Answer, None, None]:
    """Yield the answers of as many workers as there is room for, as they arrive."""
    place = room(ray.nodes(), plan.threads, _gpus(plan.settings))
    pool = WorkerPool(ray, replace(plan, threads=place.threads), place)
    # Workers beyond the present room start when nodes join.
    yield from pool.answers(tasks, min(plan.settings.workers or place.workers, len(tasks)))


def _gpus(settings: Settings) -> float:
    if settings.device == "cuda":
        return settings.gpus_per_worker or 1.0
    if settings.gpus_per_worker:
        raise UsageError(
            f"Models run on {settings.device}: leave out --gpus-per-worker, or add --device cuda."
        )
    return 0.0


def _check(answer: Answer, photos: Sequence[PhotoFile]) -> None:
    """Fail if the worker failed, or could not read a photo that is here as the manifest says."""
    if answer.error is not None:
        raise CounterGroundError(answer.error)
    for row in answer.transient:
        content, path = photos[row]
        reason = next(block.reasons[row] for block in answer.blocks if block.reasons[row])
        if is_intact(path, content):
            raise CounterGroundError(
                f"{answer.node} cannot read {path} ({reason}), and this machine can: put the photos on "
                "a disk that all nodes share, under the same path."
            )
