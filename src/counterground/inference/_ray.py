"""Encode blocks on the workers of a Ray cluster: a pool of them, fed with what is missing."""

from __future__ import annotations

import io
import logging
import os
import pickle
import socket
import sys
import threading
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from counterground._version import __version__
from counterground.errors import (
    CounterGroundError,
    MissingExtraError,
    UsageError,
    error_message,
    error_summary,
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
from counterground.models import Encoder, NamedModel, freed_memory_kept
from counterground.photos import is_intact
from counterground.settings import Settings
from counterground.text import counted

# How long an address may take to answer.
_SECONDS = 20


@dataclass(frozen=True)
class Room:
    """How many workers the nodes have room for, and the processors and GPUs of each."""

    workers: int
    threads: int
    gpus: float


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
        except ConnectionError as error:
            raise CounterGroundError(
                f"{_last_line(error)}. If `ray start` said that token authentication is enabled, set "
                "RAY_AUTH_MODE=token here, too."
            ) from error
        except (ray.exceptions.RayError, RuntimeError) as error:
            raise CounterGroundError(
                f"The Ray cluster failed: {_last_line(error)}. What was encoded is kept: the same command "
                "continues."
            ) from error
        finally:
            if joined:
                ray.shutdown()


def room(nodes: Sequence[dict[str, Any]], threads: int, gpus: float) -> Room:
    """Return the room for workers of ``threads`` processors, or of ``gpus`` with a share of the processors.

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
        return Room(workers, threads, gpus)
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


def _last_line(error: BaseException) -> str:
    """Return the last line of an error: Ray puts the traceback of a worker before it."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return error_message(Exception(lines[-1])) if lines else type(error).__name__


# Libraries that decide features besides the model. Ray itself refuses another Python or another Ray.
_LIBRARIES = ("numpy", "open_clip_torch", "pillow", "timm", "torch", "torchvision", "transformers")


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
        if differing := _differences(versions(), self._plan.versions):
            raise CounterGroundError(f"{self._node} has {differing}: install the same versions on all nodes.")
        try:
            model = load_requested(_received(recipe), self._plan.settings)
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


def _received(recipe: Recipe) -> NamedModel:
    try:
        given: NamedModel = pickle.loads(recipe.given)  # noqa: S301  pickled by the driver
    except Exception as error:
        raise CounterGroundError(
            f"{recipe.name} cannot be made from what was sent ({error_summary(error)}): give it as "
            "FILE.py:FUNCTION."
        ) from error
    return given


def versions() -> dict[str, str]:
    """Return this machine's versions of what decides features."""
    found = {"counterground": __version__}
    for name in _LIBRARIES:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _differences(here: dict[str, str], expected: dict[str, str]) -> str:
    """Return ``torch 2.12 instead of 2.13, no timm``, empty if all versions are the same."""
    return ", ".join(
        f"{name} {here[name]} instead of {wanted}" if name in here else f"no {name}"
        for name, wanted in expected.items()
        if here.get(name) != wanted
    )


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
