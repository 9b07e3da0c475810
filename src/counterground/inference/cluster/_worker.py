"""What runs in a worker: it loads the models as the driver did, and decodes and encodes blocks of photos."""

from __future__ import annotations

import os
import pickle
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version

from counterground._version import __version__
from counterground.errors import CounterGroundError, error_summary
from counterground.http import offline
from counterground.inference.encoding import EncodeFn, PhotoFile, decode_photo, encode_block, encode_fn
from counterground.inference.request import Settings
from counterground.inference.store import Block
from counterground.models import Encoder, NamedModel, freed_memory_kept

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
            model = self._plan.settings.load(_received(recipe))
        except CounterGroundError as error:
            raise CounterGroundError(f"{self._node}: {error}") from error
        assert isinstance(model, Encoder)
        runtimes = {model.runs_by: None, **{each.name: each for each in model.runtimes}}
        if recipe.runtime not in runtimes:
            raise CounterGroundError(
                f"{self._node} cannot run {recipe.name} by {recipe.runtime}, and this machine can: "
                "install the same packages on all nodes."
            )
        model.run_by(runtimes[recipe.runtime])
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
