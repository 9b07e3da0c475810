"""Encode blocks on the workers of a Ray cluster: a pool of them, fed with what is missing."""

from __future__ import annotations

import pickle
import sys
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from counterground.errors import CounterGroundError, UsageError
from counterground.http import is_offline
from counterground.inference.cluster._worker import (
    Answer,
    Plan,
    Recipe,
    Room,
    Task,
    Worker,
    ray_cluster,
    room,
    versions,
)
from counterground.inference.encoding import EncodingJob, PhotoFile, missing_blocks
from counterground.models import Encoder, NamedModel
from counterground.photos import is_intact
from counterground.settings import Settings

# How often a block is tried if workers die on it.
_ATTEMPTS = 3


class _Call(NamedTuple):
    """A call to a worker: a task, or None to ask if it is alive.

    Afterwards the worker may get ``blocks`` more blocks.
    """

    worker: Any
    task: Task | None
    blocks: int


class WorkerPool:
    """Hands out blocks to workers, from one thread.

    Ray's own pools use Ray in threads that may outlive a failed run. After Ray shuts down, such a thread
    rejoins the cluster, beside the next run, and that kills the process.
    """

    def __init__(self, ray: Any, plan: Plan, room: Room) -> None:
        self._ray = ray
        self._plan = ray.put(plan)
        # On a GPU the next block is decoded during the forward pass.
        self._blocks_each = 2 if room.gpus else 1
        self._kind = ray.remote(Worker).options(
            num_cpus=room.threads, num_gpus=room.gpus or None, max_concurrency=self._blocks_each
        )
        self._workers: set[Any] = set()
        self._started: set[Any] = set()
        self._free: list[Any] = []  # a worker once for each block that it may get
        self._calls: dict[Any, _Call] = {}
        self._losses: Counter[int | None] = Counter()  # by block

    def answers(self, tasks: Sequence[Task], workers: int) -> Generator[Answer, None, None]:
        """Yield the answers as they arrive; at the end, or when the generator is closed, no worker is left.

        Raises:
            CounterGroundError: several workers died on a block.
        """
        waiting = deque(tasks)
        try:
            for _ in range(workers):
                self._start()
            while waiting or any(call.task for call in self._calls.values()):
                [done], _ = self._ray.wait(list(self._calls))
                call = self._calls.pop(done)
                try:
                    answer = self._ray.get(done)
                except (self._ray.exceptions.RayActorError, self._ray.exceptions.ObjectLostError) as error:
                    answer = None
                    self._lose(call, error)
                    waiting.extendleft([call.task] if call.task else [])
                else:
                    self._started.add(call.worker)
                    self._free += [call.worker] * call.blocks
                # A lost block, too, goes to any free worker: there may be no room for another one.
                while waiting and self._free:
                    self._give(self._free.pop(), waiting.popleft())
                if answer and call.task:
                    yield pickle.loads(answer)  # noqa: S301  pickled by our own workers
                elif answer:
                    self._losses.pop(None, None)
        finally:
            for worker in self._workers:
                self._ray.kill(worker)

    def _start(self) -> None:
        worker = self._kind.remote(self._plan)
        self._workers.add(worker)
        self._ask(worker, self._blocks_each)

    def _ask(self, worker: Any, blocks: int) -> None:
        self._calls[worker.__ray_ready__.remote()] = _Call(worker, None, blocks)

    def _give(self, worker: Any, task: Task) -> None:
        self._calls[worker.encode.remote(task)] = _Call(worker, task, 1)

    def _lose(self, call: _Call, error: Exception) -> None:
        """Replace a lost worker, only once: each of its calls fails."""
        if call.task or call.worker not in self._started:
            self._count_loss(call.task, error)
        if call.worker in self._workers:
            self._workers.remove(call.worker)
            self._free = [worker for worker in self._free if worker is not call.worker]
            self._ray.kill(call.worker)
            self._start()
        # A free worker on the same node may also be lost, and the next block would be blamed for it.
        for worker, blocks in Counter(self._free).items():
            self._ask(worker, blocks)
        self._free = []

    def _count_loss(self, task: Task | None, error: Exception) -> None:
        """Fail if several workers died on this block, or while starting: the next would, too."""
        number = task.number if task else None
        self._losses[number] += 1
        if self._losses[number] < _ATTEMPTS:
            return
        if task is None:
            raise error
        raise CounterGroundError(
            f"{_ATTEMPTS} workers died while they encoded {task.photos[0][1]} or the photos after it. If "
            "they lacked memory, use a smaller -X batch-size or fewer -X workers."
        ) from error


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
            "FILE.py:FUNCTION, or leave out -X engine=ray."
        ) from error
    return Recipe(given.name, sent, model.runtime, model.fingerprint)


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
            f"Models run on {settings.device}: leave out -X gpus-per-worker, or add --device cuda."
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
