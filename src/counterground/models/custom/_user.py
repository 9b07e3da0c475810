"""The user's own models: ``module:function``, ``file.py:function`` and objects of a Python program."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from counterground.errors import CounterGroundError, UsageError, did_you_mean, error_summary, is_installed
from counterground.files import given_path, is_file
from counterground.models._base import Model
from counterground.models._family import Family, LoadOptions, Tower
from counterground.models.custom._wrap import ACCEPTED, wrap_model

# Modules imported from the user's folders: the folder, the file, and a digest of it.
_IMPORTED: dict[str, tuple[Path, Path, str]] = {}


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
    return wrap_model(spec, given if isinstance(given, Model | tuple) else _call(spec, given), options)


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
    """Make modules of a folder importable.

    Those of another folder, which may have the same names, are forgotten; so are all if a file was edited.
    """
    if any(of != folder or _digest(file) != digest for of, file, digest in _IMPORTED.values()):
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
                _IMPORTED[name] = folder, Path(file), _digest(Path(file))


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else ""


def _import(spec: str, place: str) -> ModuleType:
    try:
        if place.endswith(".py"):
            return _import_file(spec, given_path(place).resolve())
        return importlib.import_module(place)
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        absent = error.name if isinstance(error, ModuleNotFoundError) else None
        if absent and not place.endswith(".py") and place.startswith(absent):
            raise UsageError(
                f"{spec}: there is no module {absent!r} in this folder or among the installed packages."
            ) from error
        ended = isinstance(error, SystemExit)
        hint = " Put what a script does under if __name__ == '__main__'." if ended else ""
        raise CounterGroundError(
            f"{spec}: importing {place} failed: {error_summary(error)}.{hint}"
        ) from error


def _import_file(spec: str, path: Path) -> ModuleType:
    """Import a file under its own name, or a longer one if another module has that name."""
    if not is_file(path):
        raise UsageError(f"{spec}: there is no file {str(path)!r}.")
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


def _call(spec: str, function: Callable[[], Any]) -> Any:
    try:
        return function()
    except CounterGroundError:
        raise
    except (Exception, SystemExit) as error:
        raise CounterGroundError(
            f"{spec} failed: {error_summary(error)}. --debug shows the traceback."
        ) from error


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
