"""Encode blocks on the workers of a Ray cluster: a pool of them, fed with what is missing."""

from __future__ import annotations

import io
import logging
import os
import pickle
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from counterground.errors import (
    CounterGroundError,
    MissingExtraError,
    UsageError,
    error_message,
    install_command,
    needs_extra,
)
from counterground.http import check_online, is_local, is_offline, offline
from counterground.inference._encode import (
    EncodeFn,
    EncodingJob,
    PhotoFile,
    decode_photo,
    encode_block,
    encode_fn,
    missing_blocks,
)
from counterground.inference._request import load_requested
from counterground.inference._store import Block
from counterground.models import Encoder, NamedModel, freed_memory_kept, library_versions
from counterground.photos import is_intact
from counterground.settings import Settings
from counterground.text import counted

# How long an address may take to answer.
_SECONDS = 20


def check_ray() -> None:
    """Check that Ray can be used, without importing it.

    Raises:
        MissingExtraError: it is not installed.
        UsageError: ``RAY_ADDRESS`` is the address of a Ray client.
        CounterGroundError: nothing answers at ``RAY_ADDRESS``; Ray itself would wait for minutes.
    """
    if find_spec("ray") is None:
        raise MissingExtraError(f"The package ray is not installed: run {install_command('ray')}.")
    address = os.environ.get("RAY_ADDRESS", "")
    if address.startswith("ray://"):
        raise UsageError(
            f"RAY_ADDRESS={address} is for clients outside a cluster. Run this command on a node of it (as "
            "`ray job submit` does) with RAY_ADDRESS=auto."
        )
    host, _, port = address.rpartition(":")
    if host and not is_local(f"//{address}"):
        check_online(f"RAY_ADDRESS={address}")
    if host and port.isdecimal():
        try:
            socket.create_connection((host, int(port)), timeout=_SECONDS).close()
        except (OSError, OverflowError, UnicodeError) as error:  # no such port, no such name
            reason = getattr(error, "strerror", None) or error
            raise CounterGroundError(
                f"No Ray cluster answers at RAY_ADDRESS={address}: {reason}. Start one "
                "(`ray start --head`), or unset RAY_ADDRESS to start one here."
            ) from error


@contextmanager
def ray_cluster() -> Iterator[Any]:
    """Join the cluster of ``RAY_ADDRESS``, or start one on this machine; yield ``ray``.

    Raises:
        CounterGroundError: no cluster answers, or it fails.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    with needs_extra("ray"):
        import ray
    joined = not ray.is_initialized()
    # Ray reports on workers on standard output, which is for the user's table.
    with redirect_stdout(io.StringIO()):
        try:
            if joined:
                with _native_errors_dropped():
                    ray.init(
                        os.environ.get("RAY_ADDRESS") or "local",
                        include_dashboard=False,
                        log_to_driver=False,
                        logging_level=logging.ERROR,
                    )
            yield ray
        except (ray.exceptions.RayError, RuntimeError, ConnectionError) as error:
            # Ray puts the traceback of a worker before the last line.
            last = [line for line in str(error).splitlines() if line.strip()][-1:]
            raise CounterGroundError(
                f"The Ray cluster failed: {error_message(Exception(*last))}. What was encoded is kept: the "
                "same command continues."
            ) from error
        finally:
            if joined:
                ray.shutdown()


def room(nodes: Sequence[dict[str, Any]], threads: int, gpus: float) -> tuple[int, int]:
    """Return how many workers the nodes have room for, and the processors of each.

    A worker gets ``threads`` processors, or ``gpus`` GPUs with a share of the processors.

    A worker on a CPU has as many threads as this process, because their number changes the last bits of
    features. On a GPU it does not.

    Args:
        nodes: what ``ray.nodes()`` returns.
        threads: threads of this process.
        gpus: GPUs of each worker.

    Raises:
        UsageError: there is no room.
    """
    sizes = [node["Resources"] for node in nodes if node["Alive"]]
    sizes = [(int(size.get("CPU", 0)), float(size.get("GPU", 0))) for size in sizes]
    if gpus:
        places = [(cpus, int(have / gpus)) for cpus, have in sizes if cpus and have >= gpus]
        threads = min((max(1, cpus // count) for cpus, count in places), default=1)
        workers = sum(min(count, cpus // threads) for cpus, count in places)
    else:
        workers = sum(cpus // threads for cpus, _ in sizes)
    if workers:
        return workers, threads
    have = "; ".join(f"{counted(cpus, 'processor')}, {gpus:g} GPUs" for cpus, gpus in sizes)
    wanted = (
        f"{gpus:g} GPUs: lower -X gpus-per-worker" if gpus else f"{threads} threads: lower OMP_NUM_THREADS"
    )
    raise UsageError(f"No node of the Ray cluster ({have}) has room for a worker of {wanted}.")


@contextmanager
def _native_errors_dropped() -> Iterator[None]:
    """Drop what compiled code writes to standard error: Ray reports its log level there."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


# Libraries that decide features besides the model. Ray itself refuses another Python or another Ray.
_LIBRARIES = ("numpy", "open_clip_torch", "timm", "torchvision", "transformers")


@dataclass(frozen=True)
class Recipe:
    """What a worker needs to get the model that the driver has: load ``given``, run it by ``runtime``.

    ``given`` is a pickled `NamedModel`: what it refers to can be imported only once the worker is set up.
    """

    name: str
    given: bytes
    runtime: str
    fingerprint: str


@dataclass(frozen=True)
class Plan:
    """What all workers share. ``folder`` and ``search`` say where files and modules of specifications are."""

    recipes: tuple[Recipe, ...]
    settings: Settings
    threads: int
    folder: str
    search: tuple[str, ...]
    versions: dict[str, str]


@dataclass(frozen=True)
class Task:
    """A block of photos and the indices of the recipes that are to encode it."""

    number: int
    photos: tuple[PhotoFile, ...]
    recipes: tuple[int, ...]


@dataclass(frozen=True)
class Answer:
    """The block as each recipe encoded it, or the error that ends the run.

    ``transient`` are the rows of unreadable photos that may be readable another time.
    """

    number: int
    node: str
    blocks: tuple[Block, ...] = ()
    transient: tuple[int, ...] = ()
    error: str | None = None


class Worker:
    """Ray makes one in each worker process and calls it with blocks, on a GPU in several threads."""

    def __init__(self, plan: Plan) -> None:
        import torch

        with suppress(OSError):
            os.chdir(plan.folder)
        sys.path += [each for each in plan.search if each not in sys.path]
        torch.set_num_threads(plan.threads)
        self._plan = plan
        self._node = f"Node {socket.gethostname()}"
        self._functions: dict[int, EncodeFn] = {}
        self._memory = ExitStack()  # until the process ends
        self._memory.enter_context(freed_memory_kept())
        if plan.settings.offline:
            self._memory.enter_context(offline(libraries=True))
        self._network = threading.Lock()

    def encode(self, task: Task) -> bytes:
        """Return the pickled answer: arrays that Ray itself returns lie in its memory and vanish with it."""
        try:
            answer = self._answer(task)
        except CounterGroundError as error:
            answer = Answer(task.number, self._node, error=str(error))
        return pickle.dumps(answer)

    def _answer(self, task: Task) -> Answer:
        with self._network:
            functions = [self._function(place) for place in task.recipes]
        with ThreadPoolExecutor(self._plan.threads) as threads:
            decoded = list(threads.map(partial(decode_photo, functions), task.photos))
        with self._network:
            blocks = [
                encode_block(function, photos)
                for function, photos in zip(functions, zip(*decoded, strict=True), strict=True)
            ]
        transient = [
            row for row, photos in enumerate(decoded) if not all(photo.permanent for photo in photos)
        ]
        return Answer(task.number, self._node, tuple(blocks), tuple(transient))

    def _function(self, place: int) -> EncodeFn:
        if place not in self._functions:
            model, settings = self._load(self._plan.recipes[place]), self._plan.settings
            function = encode_fn(model, settings.batch_size)
            self._functions[place] = function
        return self._functions[place]

    def _load(self, recipe: Recipe) -> Encoder:
        """Load a model.

        Raises:
            CounterGroundError: it cannot be loaded, or differs from the driver's.
        """
        wanted = self._plan.versions
        if other := [name for name, each in library_versions(*_LIBRARIES).items() if each != wanted[name]]:
            raise CounterGroundError(
                f"{self._node} has another version of {', '.join(other)} than this machine: install the same "
                "versions on all nodes."
            )
        try:
            # Pickled by the driver.
            model = load_requested(pickle.loads(recipe.given), self._plan.settings)  # noqa: S301
        except CounterGroundError as error:
            raise CounterGroundError(f"{self._node}: {error}") from error
        assert isinstance(model, Encoder)
        if model.runtime != recipe.runtime:
            runtime = next((each for each in model.runtimes if each.name == recipe.runtime), None)
            if runtime is None:
                raise CounterGroundError(
                    f"{self._node} cannot run {recipe.name} by {recipe.runtime}, and this machine can: "
                    "install the same packages on all nodes."
                )
            model = model.run_by(runtime)
        if model.fingerprint != recipe.fingerprint:
            raise CounterGroundError(
                f"{self._node} has other weights or other code of {recipe.name} than this machine: put both "
                "on a disk that all nodes share, and give a model of your own as FILE.py:FUNCTION."
            )
        return model


# How often a worker is started.
_ATTEMPTS = 3


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
        versions=library_versions(*_LIBRARIES),
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
    """Yield the answers as they arrive; Ray restarts workers that die and gives them their block again.

    At the end, or when the generator is closed, no worker is left. All of it runs in one thread: a thread of
    Ray's own pools may outlive a failed run, rejoin the cluster beside the next one, and kill the process.
    """
    gpus = _gpus(plan.settings)
    count, threads = room(ray.nodes(), plan.threads, gpus)
    # On a GPU the next block is decoded during the forward pass.
    blocks_each = 2 if gpus else 1
    kind = ray.remote(Worker).options(
        num_cpus=threads,
        num_gpus=gpus or None,
        max_concurrency=blocks_each,
        max_restarts=_ATTEMPTS - 1,
        max_task_retries=-1,
    )
    shared = ray.put(replace(plan, threads=threads))
    waiting = deque(tasks)
    # Workers beyond the present room start when nodes join.
    count = min(plan.settings.workers or count, len(tasks))
    workers = [kind.remote(shared) for _ in range(count)]
    calls: dict[Any, tuple[Any, Task | None]] = {
        worker.__ray_ready__.remote(): (worker, None) for worker in workers for _ in range(blocks_each)
    }
    try:
        while waiting or any(task for _, task in calls.values()):
            [done], _ = ray.wait(list(calls))
            worker, task = calls.pop(done)
            try:
                answer = ray.get(done)
            except ray.exceptions.RayActorError as error:
                if task is None:
                    raise
                raise CounterGroundError(
                    f"A worker died {_ATTEMPTS} times, at last while it encoded {task.photos[0][1]} or the "
                    "photos after it. If it lacked memory, use a smaller -X batch-size or fewer -X workers."
                ) from error
            if waiting:
                block = waiting.popleft()
                calls[worker.encode.remote(block)] = worker, block
            elif not any(worker is other for other, _ in calls.values()):
                ray.kill(worker)  # which makes room for one that is to be started again
            if task:
                yield pickle.loads(answer)  # noqa: S301  pickled by our own workers
    finally:
        for worker in workers:
            ray.kill(worker)


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
