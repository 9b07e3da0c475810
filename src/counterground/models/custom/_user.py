"""Models of the user's own: ``module:function``, and objects of a Python program."""

from __future__ import annotations

import copy
import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

from counterground.errors import CounterGroundError, UsageError, did_you_mean
from counterground.models._base import Model
from counterground.models._family import Family, LoadOptions
from counterground.models.custom._wrap import ACCEPTED, wrap_model


def load_user(spec: str, options: LoadOptions) -> Model:
    """Call the user's function, without arguments, and wrap what it returns (see `wrap_model`).

    Raises:
        UsageError: no such module or function, or it returns something else.
        CounterGroundError: the function itself fails or ends the program.
    """
    function = find_function(spec)
    made = _call(spec, function)
    return wrap_model(spec, made, options, made_by=function, module=sys.modules[spec.partition(":")[0]])


def load_object(spec: str, given: Any, options: LoadOptions) -> Model:
    """Wrap an object in memory, or what a function returns (see `wrap_model`). A ready model is copied.

    Raises:
        UsageError: it is something else.
        CounterGroundError: the function itself fails or ends the program.
    """
    if isinstance(given, Model):
        return wrap_model(spec, copy.copy(given), options)
    if isinstance(given, tuple):
        return wrap_model(spec, given, options)
    return wrap_model(spec, _call(spec, given), options, made_by=given)


@contextmanager
def left_unchanged(given: Any) -> Iterator[None]:
    """Undo what running a model does to the network of ``(network, ...)``: mode, device, gradients, layers.

    A training loop may go on with it afterwards.
    """
    if not isinstance(given, tuple):
        yield
        return
    network = given[0]
    modules = [(module, module.training, "forward" in vars(module)) for module in network.modules()]
    devices = {name: tensor.device for name, tensor in _tensors(network)}
    learning = [(weights, weights.requires_grad) for weights in network.parameters()]
    try:
        yield
    finally:
        for module, training, has_forward in modules:
            module.training = training
            if not has_forward:
                vars(module).pop("forward", None)
        for name, tensor in _tensors(network):
            tensor.data = tensor.data.to(devices[name])
        for weights, requires_grad in learning:
            weights.requires_grad_(requires_grad)


def _tensors(network: Any) -> Iterator[tuple[str, Any]]:
    return chain(network.named_parameters(), network.named_buffers())


def find_function(spec: str) -> Callable[[], Any]:
    """Import the module of ``module:function`` and return the function, without calling it.

    Raises:
        UsageError: no such module or function.
        CounterGroundError: importing the module fails or ends the program.
    """
    module_name, _, path = spec.partition(":")
    module = _import(spec, module_name)
    function: Any = module
    for part in path.split("."):
        if not hasattr(function, part):
            raise UsageError(f"{spec}: {module_name} has no {path!r}.{did_you_mean(path, dir(module))}")
        function = getattr(function, part)
    if not callable(function):
        raise UsageError(f"{spec}: {path!r} is not a function; it must {ACCEPTED}.")
    return function  # type: ignore[no-any-return]


def _import(spec: str, module_name: str) -> ModuleType:
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and module_name.startswith(error.name):
            raise UsageError(
                f"{spec}: there is no module {error.name!r} in this folder or among the installed packages."
            ) from error
        raise CounterGroundError(f"{spec}: importing {module_name} failed: {error}.") from error
    except SystemExit as error:
        raise CounterGroundError(
            f"{spec}: importing {module_name} ended the program ({error!r}); put what a script does under "
            "if __name__ == '__main__'."
        ) from error
    except Exception as error:
        raise CounterGroundError(f"{spec}: importing {module_name} failed: {error!r}.") from error
    finally:
        if added:
            sys.path.remove(here)


def _call(spec: str, function: Callable[[], Any]) -> Any:
    try:
        return function()
    except CounterGroundError:
        raise
    except SystemExit as error:
        raise CounterGroundError(
            f"{spec} ended the program ({error!r}) instead of returning a model; use --debug to see where."
        ) from error
    except Exception as error:
        raise CounterGroundError(f"{spec} failed: {error!r}. Use --debug to see where.") from error


def _claims(spec: str) -> bool:
    module, _, path = spec.partition(":")
    return all(part.isidentifier() for part in [*module.split("."), *path.split(".")])


def _refuse_object(spec: str, *_: Any) -> Any:
    raise UsageError(
        f"{spec} was an object of a Python program: run that program again, or give MODULE:FUNCTION, a "
        "function that makes it."
    )


OBJECT = Family(
    prefix="object",
    usage="object:CLASS",
    resolve=_refuse_object,
    load=_refuse_object,
    kind=lambda _spec: None,
)
USER = Family(
    prefix="module",
    usage="module:function",
    claims=_claims,
    resolve=find_function,
    load=load_user,
    kind=lambda _spec: None,
)
