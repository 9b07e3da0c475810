"""Which runtime encodes a model's photos: the fastest that agrees with eager PyTorch on the first ones."""

from __future__ import annotations

import hashlib
import json
import math
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from counterground.errors import CounterGroundError, UsageError, error_message, install_command
from counterground.files import cache_dir, read_rebuildable, write_bytes
from counterground.inference.encoding._decode import prepare_blocks
from counterground.inference.encoding._encode import encode_fn
from counterground.photos import Benchmark

if TYPE_CHECKING:
    from counterground.models import Encoder, Runtime, RuntimeChoice

TOLERANCE = {"fp32": 1e-5, "fp16": 2e-3, "bf16": 2e-2}
"""By precision: largest allowed difference from eager PyTorch in any number of any photo, relative to the
largest number. The order of two names can change only if they are closer than twice that."""

# Photos of the first block on which runtimes are compared with eager PyTorch, and timed.
_COMPARED, _TIMED = 16, 4
# Photos and seconds of work below which nothing is measured.
_FEW, _SHORT = 64, 1.0
# Speed-up over eager PyTorch that is worth a change.
_FASTER = 1.1
# In the name of a choice that holds for any number of photos.
_ANY = "any"
_NEEDS = {
    "onnx": "ONNX Runtime runs networks of PyTorch on the CPU in fp32, where its packages are installed: "
    + install_command("onnx"),
    "compile": "torch.compile runs networks of PyTorch on the CPU and on CUDA",
}


@dataclass(frozen=True)
class _Measured:
    """Result of one way to run a model: photos per second, largest difference, and why it was refused."""

    photos_per_second: float | None = None
    difference: float | None = None
    refused: str | None = None


@dataclass(frozen=True)
class _Choice:
    """The runtime chosen, None for eager PyTorch, and what was measured.

    It holds for at most ``photos`` photos (None: for any number); for more, others would be tried.
    """

    runtime: str | None = None
    photos: int | None = None
    measured: dict[str, _Measured] = field(default_factory=dict)

    def description(self, otherwise: str) -> dict[str, Any]:
        """Return the account for ``run.json``; ``otherwise`` names what runs the model if no runtime does."""
        described: dict[str, Any] = {"runtime": self.runtime or otherwise}
        if self.runtime:
            described["runtime_difference"] = self.measured[self.runtime].difference
        if self.measured:
            described["runtimes_measured"] = {
                name: {key: value for key, value in asdict(each).items() if value is not None}
                for name, each in self.measured.items()
            }
        return described


def choose_runtime(
    model: Encoder, benchmark: Benchmark, batch_size: int, wanted: RuntimeChoice = "auto"
) -> None:
    """Let the fastest runtime that gives the numbers of eager PyTorch encode the model's photos.

    All are timed on a few photos of the first block, and the fastest is compared on more of it (at most 16).
    The choice is cached for as many photos, so that a run that is resumed or repeated continues as it began,
    whatever a larger one chose since. It is in ``model.description``.
    ``wanted``: ``auto``, ``eager``, or the one that must be used.

    Raises:
        UsageError: the wanted runtime cannot run the model.
        CounterGroundError: the wanted runtime fails or gives other numbers, or the model itself fails.
    """
    model.run_by(None)
    if wanted == model.runs_by:
        wanted = "eager"
    runtimes = {each.name: each for each in model.runtimes if wanted in ("auto", each.choice)}
    if not runtimes and wanted in _NEEDS:
        raise UsageError(f"{model.display_name} cannot be run by --runtime {wanted}: {_NEEDS[wanted]}.")
    choice = _Choice()
    if runtimes:
        trial = _Trial(model, benchmark, batch_size, automatic=wanted == "auto")
        key = _key(model, wanted, *runtimes, str(batch_size))
        choice = _remembered_or_measured(trial, runtimes, cache_dir() / "runtimes", key)
    if wanted in _NEEDS and choice.runtime is None:
        why = [each.refused for each in choice.measured.values() if each.refused]
        raise CounterGroundError(
            f"{model.display_name} cannot be run by --runtime {wanted}: "
            f"{why[0] if why else 'none of the first photos can be read'}. Use --runtime auto."
        )
    model.run_by(runtimes[choice.runtime] if choice.runtime else None)
    model.description = {**model.description, **choice.description(model.runs_by)}


def _key(model: Encoder, *parts: str) -> str:
    """Return the name under which a choice is kept: what was chosen for which model on which machine."""
    import torch

    on = torch.cuda.get_device_name(model.device) if model.device.startswith("cuda") else _processor()
    machine = (torch.__version__, model.device, on, str(torch.get_num_threads()), str(TOLERANCE))
    return hashlib.sha256("\n".join([model.fingerprint, *parts, *machine]).encode()).hexdigest()[:32]


def _processor() -> str:
    """Return the processor's model, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return f"{platform.machine()} {next(named, platform.processor())}"


def _remembered_or_measured(
    trial: _Trial, runtimes: Mapping[str, Runtime], folder: Path, key: str
) -> _Choice:
    """Return the choice that is kept for the fewest photos that suffice, else make one and keep it.

    One is made only for more photos than any kept choice holds for, so none changes what was chosen before.
    """
    kept = sorted((_most(path), path) for path in folder.glob(f"{key}-*.choice"))
    suits = next((path for most, path in kept if trial.photos <= most), None)
    if suits and (remembered := _read(suits)):
        return remembered
    if trial.automatic and trial.photos < _FEW:
        choice = _Choice(photos=_FEW - 1)
    elif some := trial.first(_TIMED) or trial.first(_COMPARED):
        choice = trial.choose(runtimes, some)
    else:
        return _Choice()
    name = f"{key}-{_ANY if choice.photos is None else choice.photos}.choice"
    write_bytes(folder / name, json.dumps(asdict(choice)).encode())
    if suits and suits.name != name:  # it is damaged
        suits.unlink(missing_ok=True)
    return choice


def _most(path: Path) -> float:
    """Return the most photos that a kept choice holds for; its name says so even if it is damaged."""
    photos = path.stem.rpartition("-")[2]
    return math.inf if photos == _ANY else int(photos)


def _read(path: Path) -> _Choice | None:
    if (read := read_rebuildable(path, json.loads)) is None:
        return None
    measured = {name: _Measured(**each) for name, each in read["measured"].items()}
    return _Choice(read["runtime"], read["photos"], measured)


class _Trial:
    """Runtimes of a model, tried on a benchmark's first photos; ``automatic``: only if they can pay off."""

    def __init__(self, model: Encoder, benchmark: Benchmark, batch_size: int, *, automatic: bool) -> None:
        self.model, self.automatic = model, automatic
        self.benchmark, self.batch_size = benchmark, batch_size
        self.contents = benchmark.photos.unique("photo_id", maintain_order=True)
        self.photos = len(self.contents)

    @cached_property
    def block(self) -> list[Any]:
        """The first photos prepared for the model, None if unreadable; a whole block if it can be kept."""
        size = self.batch_size if self.model.split else min(_COMPARED, self.batch_size)
        first = self.contents["photo_id", "path"].head(size)
        named = [(photo, self.benchmark.photo_source(path)) for photo, path in first.iter_rows()]
        ((decoded,),) = prepare_blocks([([encode_fn(self.model, 1)], named)])
        return [photo.prepared for photo in decoded]

    def first(self, n: int) -> list[Any]:
        """Return the readable ones of the first ``n`` photos, prepared for the model."""
        return [prepared for prepared in self.block[:n] if prepared is not None]

    def choose(self, runtimes: Mapping[str, Runtime], some: list[Any]) -> _Choice:
        """Time runtimes on ``some`` photos; return the fastest that agrees on the whole block."""
        self.encode(some[:1])  # an error in a user's model is reported for one photo
        eager = self.rate(some)
        if self.automatic and self.photos < eager * _SHORT:
            return _Choice(photos=self.photos)
        block = self.first(_COMPARED)
        expected = self.encode(block)
        measured, fastest, left_out = {"eager": _Measured(eager)}, eager, False
        for name, runtime in runtimes.items():
            if self.automatic and self.photos < fastest * runtime.pays_after:
                left_out |= math.isfinite(runtime.pays_after)
                continue
            better = measured.get(runtime.unless or "")
            if self.automatic and better and better.refused is None:
                continue
            self.model.run_by(runtime)
            measured[name] = self.measured(some, expected[: len(some)])
            fastest = max(fastest, measured[name].photos_per_second or 0)
        limit = self.photos if left_out else None
        enough = eager * _FASTER if self.automatic else 0
        rates = {name: measured[name].photos_per_second or 0 for name in runtimes if name in measured}
        for name in sorted(rates, key=rates.__getitem__, reverse=True):
            if rates[name] > enough:
                self.model.run_by(runtimes[name])  # the last one measured is still started
                measured[name] = replace(self.compared(block, expected), photos_per_second=rates[name])
                if measured[name].refused is None:
                    return _Choice(name, limit, measured)
        self.model.run_by(None)
        return _Choice(None, limit, measured)

    def measured(self, some: list[Any], expected: np.ndarray) -> _Measured:
        """Compare the runtime in use on some photos; time it if it agrees."""
        found = self.compared(some, expected)
        return found if found.refused else replace(found, photos_per_second=self.rate(some))

    def compared(self, photos: list[Any], expected: np.ndarray) -> _Measured:
        """Compare what the runtime in use gives with what eager PyTorch gave."""
        try:
            largest = np.abs(self.encode(photos) - expected).max()
        except CounterGroundError as error:
            return _Measured(refused=error_message(error.__cause__ or error))
        difference = float(largest / np.abs(expected).max())
        if difference <= TOLERANCE[self.model.dtype]:
            return _Measured(difference=difference)
        return _Measured(refused=f"differs by {difference:.2g} of the largest number on the first photos")

    def rate(self, photos: list[Any]) -> float:
        """Return photos per second, the fastest of three runs or of those that fit a quarter of a second."""
        seconds: list[float] = []
        while len(seconds) < 3 and sum(seconds) < 0.25:
            start = time.perf_counter()
            self.encode(photos)
            seconds.append(time.perf_counter() - start)
        return float(f"{len(photos) / min(seconds):.3g}")

    def encode(self, photos: list[Any]) -> np.ndarray:
        return encode_fn(self.model, len(photos)).encode(photos)
