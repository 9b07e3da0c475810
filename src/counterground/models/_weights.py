"""Read weights without running code, and fetch them, with one clear line if that fails."""

from __future__ import annotations

import math
import os
import pickle
import struct
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterground import files
from counterground.errors import CounterGroundError, UsageError, error_message
from counterground.models._base import read_options
from counterground.models._execution import out_of_memory
from counterground.models._labels import read_labels

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch

# Where training scripts put the weights, averaged ones (EMA) first.
_NESTED = (
    "state_dict_ema",
    "model_ema",
    "ema_state_dict",
    "ema",
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "weights",
)
# What DataParallel, torch.compile and Lightning put before each name.
_WRAPPERS = ("module.", "_orig_mod.", "model.", "net.", "network.")
# The most of what a configuration may ask for, by a part of its name: libraries build all of it.
_LIMITS = {"layers": 1000, "depth": 1000, "height": 2**13, "width": 2**13, "edge": 2**26}


def split_file(spec: str) -> tuple[str, Path | None]:
    """Return NAME and FILE of ``PREFIX:NAME@FILE``, or NAME and None of ``PREFIX:NAME``.

    Raises:
        UsageError: there is no such file.
    """
    name, at, file = spec.partition(":")[2].partition("@")
    path = files.given_path(file)
    if at and not files.is_file(path):
        raise UsageError(f"{spec}: there is no weights file {str(path)!r}.")
    return name, path if at else None


@dataclass(frozen=True)
class ClassifierSource:
    """What a specification of a library's classifier names.

    Attributes:
        name: architecture, with a tag or weights if the library has several.
        file: the user's own weights, None for those of the library.
        labels: ``imagenet`` or a file of class names, None if the library knows the names.
    """

    name: str
    file: Path | None
    labels: str | None


def parse_classifier(spec: str, *, headless: bool = False) -> ClassifierSource:
    """Return what ``PREFIX:NAME[@FILE][?labels=FILE]`` names; a ``headless`` network has no labels.

    Raises:
        UsageError: there is no such file, or an unknown option.
        CounterGroundError: a file of names with an empty line.
    """
    place, _, query = spec.partition("?")
    options = read_options(spec, query, () if headless else ("labels",))
    labels = options.get("labels")
    if "labels" in options and not labels:
        raise UsageError(f"{spec}: labels= needs a file with one name per line, or imagenet.")
    if labels:
        read_labels(labels)
    return ClassifierSource(*split_file(place), labels)


def read_json(path: Path, spec: str) -> Any:
    """Return what a configuration file holds.

    Raises:
        CounterGroundError: it is not readable JSON.
    """
    try:
        return files.read_json(path)
    except (OSError, ValueError) as error:
        raise CounterGroundError(f"{spec}: {path} is not readable JSON ({error}).") from error


def check_limits(spec: str, settings: Any) -> None:
    """Refuse a configuration whose network or photos would take minutes or all memory to build.

    Raises:
        CounterGroundError: it has more layers, or larger photos, than any model.
    """
    for name, value in settings.items() if isinstance(settings, dict) else ():
        if name in ("id2label", "label2id"):  # of a classifier: its own names and indices
            continue
        most = min((limit for part, limit in _LIMITS.items() if part in name), default=math.inf)
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, int | float) and each > most:
                raise CounterGroundError(f"{spec}: its configuration has {each!r:.20} as {name}.")
            check_limits(spec, each)


@contextmanager
def refusing_code(path: Path | str, spec: str) -> Iterator[None]:
    """Turn errors while reading weights from ``path`` into one line.

    Raises:
        CounterGroundError: the file holds pickled objects other than tensors, is not a weights file, or
            does not fit the architecture.
    """
    from safetensors import SafetensorError

    try:
        yield
    except pickle.UnpicklingError as error:
        raise CounterGroundError(
            f"{spec}: {path} is refused: it holds pickled objects other than tensors, which could run "
            "code when loaded. Ask its author for safetensors, or save its state_dict with torch.save."
        ) from error
    except (SafetensorError, EOFError, OSError, OverflowError, struct.error) as error:
        raise CounterGroundError(
            f"{spec}: {path} is not a readable weights file ({error_message(error)})."
        ) from error
    except CounterGroundError:
        raise
    except Exception as error:
        if out_of_memory(error):
            raise
        raise CounterGroundError(
            f"{spec}: {path} does not fit this architecture ({error_message(error)}). If you changed its "
            "layers, build it in a function of your own: file.py:function."
        ) from error


def read_state_dict(path: Path, spec: str) -> dict[str, torch.Tensor]:
    """Return the tensors in a ``.safetensors`` file or a pickle of tensors; nothing in it is executed.

    The weights may be nested as training scripts nest them (``state_dict``, ``model``, ...); averaged weights
    (EMA) take precedence over plain ones. Prefixes of wrappers (``module.``, ...) are removed.

    Raises:
        CounterGroundError: see `refusing_code`.
    """
    import torch
    from safetensors.torch import load_file

    with refusing_code(path, spec):
        if path.suffix == ".safetensors":
            loaded: Any = load_file(path)
        else:
            refuse_other_files(path)
            with torch.serialization.safe_globals(_plain_data()):
                loaded = torch.load(path, map_location="cpu", weights_only=True)
        state = _unnested(loaded)
        if state is not None:
            state.pop("n_averaged", None)  # a counter of torch.optim.swa_utils
        if not state:
            raise TypeError("no mapping of names to tensors in it")
        for name, tensor in state.items():  # an output for each row would fill the memory
            held = tensor.untyped_storage().nbytes()
            if name.endswith("weight") and tensor.numel() * tensor.element_size() > held:
                raise ValueError(f"{name} of shape {tuple(tensor.shape)} in {held} bytes")
        return _unwrapped(state)


def refuse_other_files(path: Path) -> None:
    """Refuse a file that torch.save did not write: reading text as a pickle gives unhelpful errors.

    Raises:
        OSError: it is neither a zip archive nor a pickle, and its suffix names no other format.
    """
    if path.suffix in {".safetensors", ".npz", ".npy"}:
        return
    with path.open("rb") as file:
        if not file.read(2).startswith((b"PK", b"\x80")):
            raise OSError("torch.save did not write it; a safetensors file must end in .safetensors")


def _plain_data() -> list[Any]:
    """Return classes that training scripts save with weights and that only hold data: options, numbers."""
    import argparse

    import numpy as np

    numbers = [np.dtype(name) for name in ("float64", "float32", "int64", "int32", "bool")]
    scalar: Any = np.float64(0).__reduce__()[0]
    return [argparse.Namespace, scalar, np.dtype, *{type(number) for number in numbers}]


def _unnested(loaded: Any) -> dict[str, torch.Tensor] | None:
    """Return a checkpoint's weights: itself, or the value of a known key."""
    if not isinstance(loaded, dict):
        return None
    if _is_state(loaded):
        return loaded
    states = {name: value for name, value in loaded.items() if _is_state(value)}
    return next((states[name] for name in _NESTED if name in states), None)


def _is_state(value: Any) -> bool:
    import torch

    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(tensor, torch.Tensor) for tensor in value.values())
    )


def _unwrapped(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    while wrapper := next((each for each in _WRAPPERS if all(key.startswith(each) for key in state)), None):
        state = {key.removeprefix(wrapper): tensor for key, tensor in state.items()}
    return state


def resampled(
    path: Path, held: Mapping[str, tuple[int, ...]], state: Mapping[str, torch.Tensor]
) -> list[str]:
    """Return a warning if a file holds tensors in another size, which libraries resample silently.

    Args:
        path: the file.
        held: the shape of each of its tensors.
        state: the network's tensors after they were read.
    """
    needed = {name: tuple(tensor.shape) for name, tensor in state.items()}
    other = [name for name in held if name in needed and math.prod(held[name]) != math.prod(needed[name])]
    if not other:
        return []
    warning = (
        f"{path.name} holds {other[0]} {held[other[0]]}, which was resampled to {needed[other[0]]}: the "
        "weights are those of another resolution, patch size or context. Name the network that they were "
        "trained with."
    )
    return [warning]


@contextmanager
def fetching(
    spec: str, *, offline: bool, remedy: str, hub: bool = False, what: str = "the weights"
) -> Iterator[None]:
    """Fetch weights, or ``what`` else a model needs, inside this context.

    Failures become one line that names ``what``, ``spec`` and ``remedy``.

    With ``offline`` the Hugging Face libraries read only their cache. So they do if the ``hub`` cannot be
    reached, which they would otherwise retry for most of a minute.

    Raises:
        CounterGroundError: not in the cache, no network, or the host refused.
    """
    unreachable = hub and not offline and not _hub_reachable()
    try:
        with hub_offline() if offline or unreachable else nullcontext():
            yield
    except CounterGroundError:
        raise
    except (OSError, RuntimeError, ValueError, ImportError) as error:
        if out_of_memory(error):
            raise
        if isinstance(error, ImportError) or "pip install" in str(error):
            raise CounterGroundError(
                f"{spec} needs a package that is missing: {error_message(error)}"
            ) from error
        reason = error_message(error)
        if offline:
            reason = "not in the local cache, and --offline forbids fetching"
        elif unreachable:
            reason = "not in the local cache, and the Hugging Face hub cannot be reached"
        raise CounterGroundError(f"Cannot fetch {what} of {spec}: {reason}. {remedy}") from error


def check_cached(url: str, spec: str, folder: Path | None = None) -> None:
    """Check that a file is in ``folder``, by default PyTorch's own cache; call it inside `fetching`.

    Raises:
        OSError: it is not there.
    """
    import torch

    path = (folder or Path(torch.hub.get_dir()) / "checkpoints") / url.rsplit("/", 1)[-1]
    if not path.is_file():
        raise FileNotFoundError(f"{spec}: {path} is missing")


@contextmanager
def hub_offline() -> Iterator[None]:
    """Let the Hugging Face libraries read only their cache."""
    # huggingface_hub reads the variable once at import, so both it and the constant are set.
    from huggingface_hub import constants

    before, constant = os.environ.get("HF_HUB_OFFLINE"), constants.HF_HUB_OFFLINE
    os.environ["HF_HUB_OFFLINE"] = "1"
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = constant
        if before is None:
            del os.environ["HF_HUB_OFFLINE"]
        else:
            os.environ["HF_HUB_OFFLINE"] = before


def _hub_reachable() -> bool:
    import socket
    import urllib.request
    from urllib.parse import urlsplit

    from huggingface_hub import constants

    address = urlsplit(constants.ENDPOINT)
    proxy = urllib.request.getproxies().get(address.scheme)
    if proxy and not urllib.request.proxy_bypass(address.hostname or ""):
        # It answers for the hub; only a real request can tell more.
        address = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    try:
        port = address.port or (443 if address.scheme == "https" else 80)
        socket.create_connection((address.hostname or "", port), timeout=10).close()
    except OSError:
        return False
    return True
