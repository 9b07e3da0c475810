"""The user's own models: ``module:function``, ``file.py:function`` and objects of a Python program."""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.machinery import PathFinder
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any

from counterground.errors import CounterGroundError, UsageError, did_you_mean, error_summary, is_installed
from counterground.files import given_path, is_file
from counterground.models._base import Model
from counterground.models._family import Family, LoadOptions, Tower
from counterground.models.custom._wrap import ACCEPTED, wrap_model

# Modules imported from the user's folders: a notebook may outlive the code in a file.
_IMPORTED: dict[str, tuple[Path, str]] = {}


def load_user(spec: str, options: LoadOptions, *, features: bool = False) -> Model:
    """Call the user's function, without arguments, and wrap what it returns (see `wrap_model`).

    Raises:
        UsageError: no such file, module or function, or the function returns something else.
        CounterGroundError: the function itself fails or ends the program.
    """
    function = find_function(spec)
    with _importable(_folder(spec)):
        made = _call(spec, function)
    return wrap_model(spec, made, options, features=features)


def load_object(spec: str, given: Any, options: LoadOptions) -> Model:
    """Wrap an object in memory, or what a function returns (see `wrap_model`). A ready model is copied.

    Raises:
        UsageError: `wrap_model` does not accept it.
        CounterGroundError: the function itself fails or ends the program.
    """
    if isinstance(given, Model | tuple):
        return wrap_model(spec, given, options)
    return wrap_model(spec, _call(spec, given), options)


@contextmanager
def left_unchanged(given: Any) -> Iterator[None]:
    """Undo what running a model does to the network of ``(network, ...)``: mode, device, gradients, layers.

    A network that a function returns while it is loaded in the block is restored, too, as it was when the
    function returned it. A training loop can then continue with it.
    """
    loans: list[_Loan] = []
    _open_blocks().append(loans)
    try:
        if isinstance(given, tuple):
            loans.append(_Loan(given[0]))
        yield
    finally:
        if loans in _open_blocks():  # a generator may be closed by another thread
            _open_blocks().remove(loans)
        for loan in reversed(loans):
            loan.restore()


class _Loan:
    """A network as it was when a block borrowed it."""

    def __init__(self, network: Any) -> None:
        self._network = network
        # A frozen TorchScript module has no mode.
        self._modules = [
            (module, getattr(module, "training", None), "forward" in vars(module))
            for module in network.modules()
        ]
        self._devices = {name: tensor.device for name, tensor in _tensors(network)}
        self._learning = [(weights, weights.requires_grad) for weights in network.parameters()]

    def restore(self) -> None:
        import torch

        for module, training, has_forward in self._modules:
            if training is not None:
                module.training = training
            if not has_forward:
                vars(module).pop("forward", None)
        first = next(iter(self._devices.values()), None)  # for buffers that were added while it ran
        for name, tensor in _tensors(self._network):
            tensor.data = tensor.data.to(self._devices.get(name, first))
        for weights, requires_grad in self._learning:
            # Lazy ones have no numbers yet, and nobody can train those made in inference.
            if not torch.nn.parameter.is_lazy(weights) and not weights.is_inference():
                weights.requires_grad_(requires_grad)


_of_thread = threading.local()


def _open_blocks() -> list[list[_Loan]]:
    """Return what each block of `left_unchanged` that this thread is in has borrowed, the innermost last."""
    blocks: list[list[_Loan]] = _of_thread.__dict__.setdefault("blocks", [])
    return blocks


def _tensors(network: Any) -> Iterator[tuple[str, Any]]:
    return chain(network.named_parameters(), network.named_buffers())


def find_function(spec: str) -> Callable[[], Any]:
    """Import the module or file before the colon and return the function, without calling it.

    Raises:
        UsageError: no such file, module or function.
        CounterGroundError: importing the module fails or ends the program.
    """
    place, _, path = spec.rpartition(":")
    with _importable(_folder(spec)):
        module = _import(spec, place)
    function: Any = module
    for part in path.split("."):
        if not hasattr(function, part):
            raise UsageError(f"{spec}: {place} has no {path!r}.{did_you_mean(path, dir(module))}")
        function = getattr(function, part)
    if not callable(function):
        raise UsageError(f"{spec}: {path!r} is not a function; it must {ACCEPTED}.")
    return function  # type: ignore[no-any-return]


def _folder(spec: str) -> Path:
    """Return where the user's modules are looked for first: beside the file, or in the current folder."""
    place = spec.rpartition(":")[0]
    return given_path(place).resolve().parent if place.endswith(".py") else Path.cwd()


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Make modules of a folder importable; all are imported again if a file was edited."""
    if any(_digest(file) != digest for file, digest in _IMPORTED.values()):
        for name in _IMPORTED:
            sys.modules.pop(name, None)
        _IMPORTED.clear()
    before, added = set(sys.modules), str(folder) not in sys.path
    if added:
        sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        if added:
            sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            file = getattr(sys.modules[name], "__file__", None)
            if file is not None and Path(file).is_relative_to(folder) and not is_installed(file):
                _IMPORTED[name] = Path(file), _digest(Path(file))


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""


def _import(spec: str, place: str) -> ModuleType:
    try:
        if place.endswith(".py"):
            return _import_file(spec, given_path(place).resolve())
        _refuse_another_folders(spec, place)
        return importlib.import_module(place)
    except CounterGroundError:
        raise
    except ModuleNotFoundError as error:
        if error.name and not place.endswith(".py") and place.startswith(error.name):
            raise UsageError(
                f"{spec}: there is no module {error.name!r} in this folder or among the installed packages."
            ) from error
        raise CounterGroundError(f"{spec}: importing {place} failed: {error_summary(error)}.") from error
    except SystemExit as error:
        raise CounterGroundError(
            f"{spec}: importing {place} ended the program ({error_summary(error)}); put what a script does "
            "under if __name__ == '__main__'."
        ) from error
    except Exception as error:
        raise CounterGroundError(f"{spec}: importing {place} failed: {error_summary(error)}.") from error


def _import_file(spec: str, path: Path) -> ModuleType:
    """Import a file under its own name, or a longer one if another module has that name."""
    if not is_file(path):
        raise UsageError(f"{spec}: there is no file {str(path)!r}.")
    _refuse_mixed_up(spec, path)
    name = path.stem
    if not _is_free(name, path):
        name = f"{name}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None
    assert found.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(found)
    try:
        found.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _is_free(name: str, path: Path) -> bool:
    """Whether no module other than this file has the name."""
    if name in sys.modules:
        return getattr(sys.modules[name], "__file__", None) == str(path)
    found = importlib.util.find_spec(name) if name.isidentifier() else None
    return found is None or found.origin == str(path)


def _refuse_another_folders(spec: str, place: str) -> None:
    """Refuse a module of the current folder if we loaded another folder's of that name: Python would use it.

    A notebook may change its folder, and ``old/net.py:load`` is imported as ``net``, too.
    """
    name = place.partition(".")[0]
    found = PathFinder.find_spec(name, [str(Path.cwd())])
    if found is None or found.origin is None:
        return
    file = Path(found.origin).resolve()
    if name not in sys.modules:
        if file.name != "__init__.py":  # a package imports what is beside it, not in it
            _refuse_mixed_up(spec, file)
    elif name in _IMPORTED and (other := _IMPORTED[name][0].resolve()) != file:
        raise UsageError(
            f"{spec}: it names {file}, but {other} of the same name is loaded already. Rename one of them, "
            "or evaluate the models in separate processes."
        )


def _refuse_mixed_up(spec: str, path: Path) -> None:
    """Refuse a file that imports a module beside it if another folder's module of that name is loaded.

    Two experiments may each have a ``net.py``: Python would give the second experiment the first one's.
    """
    beside = {file.stem: file for file in path.parent.glob("*.py") if file != path}
    waiting = [path]
    while waiting:
        for name in _imported_names(waiting.pop()):
            file = beside.pop(name, None)
            if file is None:
                continue
            waiting.append(file)
            other = getattr(sys.modules.get(name), "__file__", None)
            if other is not None and Path(other).resolve() != file:
                raise UsageError(
                    f"{spec}: it imports {file}, but {other} of the same name is loaded already. Rename one "
                    "of them, or evaluate the models in separate runs."
                )


def _imported_names(path: Path) -> set[str]:
    """Return the modules that a source file imports by their whole names."""
    nodes = list(ast.walk(ast.parse(path.read_bytes(), str(path))))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return names | {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}


def _call(spec: str, function: Callable[[], Any]) -> Any:
    try:
        made = function()
    except CounterGroundError:
        raise
    except SystemExit as error:
        raise CounterGroundError(
            f"{spec} ended the program ({error_summary(error)}) instead of returning a model."
        ) from error
    except Exception as error:
        raise CounterGroundError(
            f"{spec} failed: {error_summary(error)}. --debug shows the traceback."
        ) from error
    if isinstance(made, tuple) and made and (blocks := _open_blocks()):
        import torch

        if isinstance(made[0], torch.nn.Module):
            blocks[-1].append(_Loan(made[0]))
    return made


def _claims(spec: str) -> bool:
    place, _, path = spec.rpartition(":")
    parts = path.split(".") if place.endswith(".py") else [*place.split("."), *path.split(".")]
    return all(part.isidentifier() for part in parts)


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
    usage="module:function or file.py:function",
    claims=_claims,
    resolve=find_function,
    load=load_user,
    kind=lambda _spec: None,
    tower=Tower(find_function, partial(load_user, features=True)),
)
