"""Workers on the nodes of a Ray cluster: a free one gets the next block, a lost one is replaced."""

from __future__ import annotations

import pickle
from collections import Counter, deque
from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

from counterground.errors import CounterGroundError
from counterground.inference.cluster._ray import Room
from counterground.inference.cluster._worker import Answer, Plan, Task, Worker

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
            "they lacked memory, use a smaller --batch-size or fewer --workers."
        ) from error
