"""Read a transformers model from a folder or the hub: quietly, completely, and without running code."""

from __future__ import annotations

import hashlib
import logging
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterground.errors import CounterGroundError, error_message, install_command
from counterground.models._weights import (
    check_depth,
    fetching,
    hub_offline,
    is_about_weights,
    refusing_code,
)
from counterground.models.huggingface._source import HfSource, folder_config
from counterground.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import torch


# Their versions enter a fingerprint.
LIBRARIES = ("transformers", "tokenizers", "torchvision")
# The package that transformers makes of code beside the weights.
_REMOTE = "transformers_modules"
_REMEDY = (
    "Connect to the network, put the files into the Hugging Face cache (HF_HOME), or give a folder: hf:DIR."
)


@contextmanager
def reading(source: HfSource, *, offline: bool) -> Iterator[None]:
    """Read a model inside this context; errors become one line. A folder never uses the network.

    Raises:
        CounterGroundError: not in the cache, no network, a missing package, a pickle that could run code,
            weights that do not fit, or code beside the weights that the user did not allow.
    """
    with quiet():
        if source.folder is not None:
            with hub_offline(), refusing_code(source.folder, source.spec), explained(source):
                yield
        else:
            fetched = fetching(source.spec, offline=offline, remedy=_REMEDY, hub=True)
            with refusing_code(weights_name(source), source.spec), fetched, explained(source):
                yield


def pinned(source: HfSource) -> HfSource:
    """Return a repository's source pinned to its current commit; call it inside `reading`."""
    from transformers.utils.hub import resolve_revision

    if source.folder is not None:
        return source
    found = resolve_revision(source.name, source.revision)
    return replace(source, revision=getattr(found, "resolved", found))


def read_config(source: HfSource) -> dict[str, Any]:
    """Return the configuration as a mapping; call it inside `reading` for a repository.

    Raises:
        UsageError: a folder without one.
        CounterGroundError: it is broken.
    """
    if source.folder is not None:
        return folder_config(source)
    from transformers import PretrainedConfig

    config, _ = PretrainedConfig.get_config_dict(source.name, revision=source.revision)
    check_depth(source.spec, config)
    return dict(config)


def from_pretrained(auto: Any, source: HfSource, **options: Any) -> Any:
    """Call ``auto.from_pretrained``; code beside the weights runs only if the user allowed it."""
    return auto.from_pretrained(
        source.name, revision=source.revision, trust_remote_code=source.trust_remote_code, **options
    )


class MissingTensorsError(CounterGroundError):
    """Weights lack some of a network's tensors, or hold them in another shape; ``names`` lists them."""

    names: tuple[str, ...] = ()


def read_network(auto: Any, source: HfSource, *, dtype: torch.dtype | None = None, **options: Any) -> Any:
    """Return the network in evaluation mode, all its tensors read from the weights.

    They are held in ``dtype``, float32 by default.

    Raises:
        MissingTensorsError: tensors are missing, which transformers would fill at random.
        CounterGroundError: layers or biases in the weights have no place in the network, so that it would
            compute something else.
    """
    import torch

    # Told to ignore tensors of another shape, transformers lists them instead of pointing to its log.
    network, found = from_pretrained(
        auto,
        source,
        dtype=dtype or torch.float32,
        weights_only=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
        **options,
    )
    missing = [*found["missing_keys"], *(key for key, *_ in found["mismatched_keys"])]
    if missing:
        error = MissingTensorsError(
            f"{source.spec}: the weights lack {len(missing)} tensors of {type(network).__name__} or hold "
            f"them in another shape ({', '.join(sorted(missing)[:3])}); they would be random."
        )
        error.names = tuple(missing)
        raise error
    if homeless := _without_place(network, found["unexpected_keys"]):
        raise CounterGroundError(
            f"{source.spec}: {type(network).__name__}, as config.json describes it, has no place for "
            f"{counted(len(homeless), 'tensor')} of the weights ({', '.join(homeless[:3])}). Use the "
            "config.json that was saved with the weights."
        )
    return network.eval().requires_grad_(requires_grad=False)


def _without_place(network: Any, unexpected: Iterable[str]) -> list[str]:
    """Return the tensors without a place that belong to layers of the network, or are more such layers.

    Other parts (a head for another task, a decoder, a mask token) are left out on purpose. Transformers has
    removed what it knows to be harmless.
    """
    import torch

    parts = dict(network.named_modules())

    def belongs(name: str) -> bool:
        *path, last = name.removeprefix(f"{network.base_model_prefix}.").split(".")
        for inside in (path, [network.base_model_prefix, *path]):
            if last in ("weight", "bias") and inside and ".".join(inside) in parts:
                return True
            lists = [parts.get(".".join(inside[:at])) for at, part in enumerate(inside) if part.isdigit()]
            if any(isinstance(each, torch.nn.ModuleList) for each in lists):
                return True
        return False

    return sorted(name for name in unexpected if belongs(name))


def code_parts(source: HfSource, *objects: Any) -> dict[str, str]:
    """Return a SHA-256 of each file of code that these come from, if it lies beside trusted weights."""
    if not source.trust_remote_code:
        return {}
    folders = {each.__module__.rpartition(".")[0] for each in objects if each.__module__.startswith(_REMOTE)}
    return {
        name.rpartition(".")[2]: hashlib.sha256(Path(file).read_bytes()).hexdigest()
        for name, module in sorted(sys.modules.items())
        if name.rpartition(".")[0] in folders and (file := module.__file__)
    }


def all_code_parts(source: HfSource, network: Any, processor: Any) -> dict[str, str]:
    """Return `code_parts` of all in a network and a processor whose code came with the weights.

    Only a part may have code of its own: an image tower, a processor, or the function that generates.
    """
    objects = [network, *network.modules(), network.config, processor, *vars(processor).values()]
    generate = getattr(vars(network).get("generate"), "func", None)
    return code_parts(source, *map(type, objects), *([generate] if generate else []))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' progress bars and remarks off the terminal."""
    from transformers.utils import logging as its_logging

    level, bars = its_logging.get_verbosity(), its_logging.is_progress_bar_enabled()
    its_logging.set_verbosity(logging.CRITICAL)
    its_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        its_logging.set_verbosity(level)
        if bars:
            its_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


@contextmanager
def explained(source: HfSource) -> Iterator[None]:
    """Turn what transformers raises on files that it cannot use into one line; see `reading`."""
    try:
        yield
    except CounterGroundError:
        raise
    except ImportError as error:
        raise CounterGroundError(
            f"{source.spec} needs a package that is missing: {_first_sentence(error)}. "
            f"Try {install_command('hf')}."
        ) from error
    except Exception as error:
        if source.folder is not None and isinstance(error, OSError):
            raise CounterGroundError(
                f"{source.spec}: {source.folder} is not a complete model ({_first_sentence(error)}). "
                "Save model, image processor and tokenizer into it with save_pretrained()."
            ) from error
        if "trust_remote_code" in str(error):
            raise CounterGroundError(
                f"{source.spec} comes with code of its own, which is not run. Read that code; if you trust "
                f"it, write {source.spec}{'&' if '?' in source.spec else '?'}trust_remote_code."
            ) from error
        if is_about_weights(error):
            raise
        reason = f"{type(error).__name__}: {_first_sentence(error)}"
        raise CounterGroundError(f"{source.spec}: transformers cannot load it ({reason}).") from error


def _first_sentence(error: BaseException) -> str:
    return error_message(error).partition(". ")[0]


def weights_name(source: HfSource) -> str:
    """Return the folder's name, or ``owner/name@commit``."""
    if source.folder is not None:
        return source.folder.resolve().name
    return f"{source.name}@{source.revision}" if source.revision else source.name
