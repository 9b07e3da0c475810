"""Fingerprints: content hashes that change whenever a number the model gives could change.

For a user's own model they also cover the code, as far as it can be known without running it: weights and
``repr`` leave out a function's body, so a changed preprocessing would otherwise find old features.
"""

from __future__ import annotations

import ast
import copyreg
import dis
import functools
import hashlib
import json
import logging
import re
import sys
import sysconfig
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from importlib import metadata
from itertools import chain, pairwise
from pathlib import Path, PurePath
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    ModuleType,
)
from typing import TYPE_CHECKING, Any

from counterground._version import __version__

if TYPE_CHECKING:
    import torch

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_PROCESS = uuid.uuid4().hex
_PACKAGE = Path(__file__).parent.parent
_STANDARD = tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))
_READS_GLOBAL = frozenset({"LOAD_GLOBAL", "LOAD_NAME"})
_TAKES_METHOD = frozenset({"LOAD_METHOD", "LOAD_ATTR"})
# Special methods that are always written by hand; others are often generated.
_CALLED = frozenset({"__call__", "__getattr__", "__getitem__", "__iter__", "__len__", "__next__"})
# Methods that only fill a collection: a list of the photos seen so far is not a setting.
_FILLS = frozenset({"add", "append", "appendleft", "extend"})
# Types of class attributes that lead to slots and caches; those of compiled classes are of these types.
_DESCRIPTORS = (GetSetDescriptorType, MemberDescriptorType, MethodDescriptorType, BuiltinFunctionType)
_LEAVES = (bool, int, float, complex, str, bytes, Enum, PurePath)
_SIMPLE = {bool, int, float, complex, str, bytes}
_LONG = 1000  # entries or bytes
# Of a torch.nn.Module: the caller decides whether it is in training mode.
_NOT_SETTINGS = frozenset({"training"})
# Far deeper than any network nests; a longer chain of objects would exhaust the stack.
_DEEPEST = 100


def plain_repr(value: object) -> str:
    """Return ``repr(value)`` without memory addresses, which differ in every process."""
    text = repr(value)
    return _ADDRESS.sub("", text) if " at 0x" in text else text


def tensor_digests(state: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Return a SHA-256 for each tensor over its dtype, shape and bytes, in the order of the names.

    A state may hold something else: what a layer calls its extra state, or a tuple with quantised weights.
    """
    import torch

    return {
        name: _tensor_digest(state[name])
        if isinstance(state[name], torch.Tensor)
        else combine(value=CodeHasher("", {}).describe(state[name]))
        for name in sorted(state)
    }


def _tensor_digest(tensor: torch.Tensor) -> str:
    import torch

    about = f"{tensor.dtype} {tuple(tensor.shape)} "
    tensor = tensor.detach().resolve_conj().resolve_neg().to("cpu")
    if tensor.layout is not torch.strided:
        about += f"{tensor.layout} "
        tensor = tensor.to_dense()
    if tensor.is_quantized:
        about += f"{_scales(tensor)} "
        tensor = tensor.int_repr()
    digest = hashlib.sha256(about.encode())
    digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _scales(tensor: torch.Tensor) -> list[Any]:
    """Return what turns a quantised tensor's integers into numbers."""
    import torch

    if tensor.qscheme() in (torch.per_tensor_affine, torch.per_tensor_symmetric):
        return [tensor.q_scale(), tensor.q_zero_point()]
    places = (tensor.q_per_channel_scales(), tensor.q_per_channel_zero_points())
    return [tensor.q_per_channel_axis(), *(each.tolist() for each in places)]


def combine(**parts: Any) -> str:
    """Return one SHA-256 over named, JSON-ready parts."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=plain_repr)
    return hashlib.sha256(text.encode()).hexdigest()


def library_versions(*distributions: str) -> dict[str, str]:
    """Return the versions of PyTorch, Pillow, this package and ``distributions``."""
    names = ("torch", "pillow", *distributions)
    return dict(sorted({"counterground": __version__, **{name: _version(name) for name in names}}.items()))


@functools.cache
def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "unknown"


@dataclass(frozen=True)
class CodeFingerprint:
    """What is known of the code behind some objects.

    Attributes:
        parts: JSON-ready, for a fingerprint: SHA-256 of each source file, versions of installed packages,
            settings of the objects; unique to this process if a source is missing.
        warnings: a sentence for the description if a source is missing.
    """

    parts: dict[str, Any]
    warnings: tuple[str, ...]


def code_version(value: Any) -> str:
    """Return what distinguishes an object of a program: a hash of its code, what it holds and its weights."""
    return combine(content=code_fingerprint(None, value, weights=True).parts)


def code_fingerprint(module: ModuleType | None, *objects: Any, weights: bool = False) -> CodeFingerprint:
    """Return what is known of the code of ``objects`` and of the user's ``module``, if there is one.

    Without ``weights``, what is in the ``state_dict`` of those objects that are networks is left out: most
    callers hash it by name.

    This covers the classes of the objects and of what they hold, functions with their defaults, closures and
    the globals they read, and every module outside the installed packages that these modules refer to. Code
    without a file, such as a notebook cell, is identified by what it compiles to. What the code reads from
    elsewhere (files, environment) is not covered.
    """
    hasher = CodeHasher(module.__name__ if module else "", {} if weights else _states(objects))
    settings = [hasher.describe(value) for value in ((module, *objects) if module else objects)]
    hasher.follow()
    parts: dict[str, Any] = {
        "files": sorted([path.name, digest] for path, digest in hasher.files.items()),
        "versions": hasher.versions,
        "settings": settings,
        **({"code": hasher.code} if hasher.code else {}),
    }
    if not hasher.missing:
        return CodeFingerprint(parts, ())
    warning = (
        f"The source of {', '.join(sorted(hasher.missing)[:3])} cannot be found, so a change in it would go "
        "unnoticed: features of this model are not reused by later runs."
    )
    return CodeFingerprint({**parts, "process": _PROCESS}, (warning,))


def _all_leaves(values: Iterable[Any]) -> bool:
    """Whether values are texts and numbers, alone or in tuples."""
    kept = list(values)
    kinds = {type(each) for each in kept}
    if kinds <= _SIMPLE:
        return True
    inner = [each for each in kept if type(each) is tuple]
    return kinds <= {*_SIMPLE, tuple} and _all_leaves(chain.from_iterable(inner))


def _states(objects: Iterable[Any]) -> dict[int, tuple[str, Any]]:
    """Return names and tensors of networks' ``state_dict``, by identity."""
    import torch

    found = {}
    for network in objects:
        if isinstance(network, torch.nn.Module):
            # A class may have a state_dict of its own, with other arguments: nothing is left out then.
            with suppress(Exception):
                for name, tensor in network.state_dict(keep_vars=True).items():
                    if isinstance(tensor, torch.Tensor):
                        found[id(tensor)] = name, tensor
    return found


class CodeHasher:
    """Visits objects once each and gathers the source files behind them.

    Args:
        module_name: the user's module; it and its package are the user's even if they are installed.
        hashed: names of tensors that are hashed elsewhere, and the tensors, by identity.
    """

    def __init__(self, module_name: str, hashed: Mapping[int, tuple[str, Any]]) -> None:
        self.files: dict[Path, str] = {}
        self.versions: dict[str, str] = {}
        self.missing: set[str] = set()
        self.code: list[Any] = []
        self._own, self._hashed = module_name.partition(".")[0], hashed
        # Values, not only ids: an id can be reused once its object is gone.
        self._seen: dict[int, tuple[int, Any]] = {}
        self._classes: dict[int, type] = {}
        # Described one after another: a long chain of functions would exhaust the stack.
        self._waiting: deque[tuple[str, Any]] = deque()

    def follow(self) -> None:
        """Describe what the code of the objects described so far refers to."""
        while self._waiting:
            name, value = self._waiting.popleft()
            self.code.append([name, self.describe(value)])

    def describe(self, value: Any, depth: int = 0) -> Any:
        """Return a JSON-ready account of ``value`` that is the same in every process."""
        if value is None or isinstance(value, _LEAVES) or depth > _DEEPEST:
            long = isinstance(value, bytes) and len(value) > _LONG
            return hashlib.sha256(value).hexdigest() if long else plain_repr(value)
        if isinstance(value, tuple | frozenset | set | list | Mapping):
            self._add_class(type(value))
        if isinstance(value, tuple | frozenset | set):
            # A set is in the order of its addresses, which differ in every process.
            each_in = value if isinstance(value, tuple) else sorted(value, key=plain_repr)
            found = [self.describe(each, depth + 1) for each in each_in]
            return found if isinstance(value, tuple) else sorted(found, key=repr)
        if known := self._known(value):
            return known
        if isinstance(value, list | Mapping):
            each_of = value if isinstance(value, list) else value.items()
            if len(value) > _LONG and _all_leaves(each_of):  # a vocabulary: a digest is enough
                return hashlib.sha256(repr(list(each_of)).encode()).hexdigest()
            return [self.describe(each, depth + 1) for each in each_of]
        return self._named(value) or self._held(value, depth + 1)

    def _known(self, value: Any) -> str | None:
        if id(value) in self._hashed:
            return f"weights {self._hashed[id(value)][0]}"
        return None if self._is_new(value) else f"described before: {self._seen[id(value)][0]}"

    def _is_new(self, value: Any) -> bool:
        """Whether it was not visited before; it is afterwards."""
        new = id(value) not in self._seen
        self._seen.setdefault(id(value), (len(self._seen), value))
        return new

    def _named(self, value: Any) -> str | None:
        """Gather the source of a module, class or function; return the name of a module or class."""
        if isinstance(value, FunctionType):
            self._add_function(value)
        if isinstance(value, ModuleType):
            self._add_module(value)
            return value.__name__
        if isinstance(value, type):
            self._add_class(value)
            return value.__qualname__
        return None

    def _held(self, value: Any, depth: int) -> Any:
        """Return what an object or a function holds, by name.

        Only the type is known of a proxy without its context, a closed image or the like. Features that are
        computed with it are not reused.
        """
        try:
            return self._content(value, depth)
        except Exception:  # whatever the user's code raises
            self.missing.add(type(value).__qualname__)
            return type(value).__qualname__

    def _content(self, value: Any, depth: int) -> Any:
        import numpy as np
        import torch
        from PIL import Image

        if isinstance(value, logging.Logger | logging.Handler | logging.LoggerAdapter):
            return type(value).__qualname__  # they lead to the state of the whole process
        if isinstance(value, np.ndarray):
            return _array_digest(value)
        if isinstance(value, torch.Tensor) and not value.is_meta:
            return _tensor_digest(value)
        if isinstance(value, Image.Image):
            return [value.mode, *value.size, value.getpalette(), hashlib.sha256(value.tobytes()).hexdigest()]
        held = _state(value)
        if not isinstance(value, FunctionType | MethodType):
            self._add_class(type(value))
        if not held:
            return self._saved(value, depth) or plain_repr(value)
        name = getattr(value, "__qualname__", type(value).__qualname__)
        return [name, {key: self.describe(each, depth) for key, each in held.items()}]

    def _saved(self, value: Any, depth: int) -> Any:
        """Return what a copy of a compiled object is made from; None if it cannot be copied.

        Its ``repr`` may say nothing of what it holds, as that of a tree of scikit-learn. A generator of
        random numbers is left out: it changes when it is used.
        """
        import numpy as np
        import torch

        random = (np.random.Generator, np.random.RandomState, np.random.BitGenerator, torch.Generator)
        if isinstance(value, (*random, np.generic)):
            return None
        # The function for patterns is registered separately; their ``repr`` ends after 200 characters.
        reduce = copyreg.dispatch_table.get(type(value))
        try:
            taken = reduce(value) if reduce else value.__reduce_ex__(4)
            if not isinstance(taken, tuple):
                return None
            made_from, entries = taken[1:3], [list(each) for each in taken[3:5] if each is not None]
        except Exception:  # a lock, a connection, a generator
            return None
        return [type(value).__qualname__, self.describe((*made_from, *entries), depth)]

    def _add_function(self, function: FunctionType) -> None:
        path, module = Path(function.__code__.co_filename), sys.modules.get(function.__module__ or "")
        if path.is_file():
            if module is not None:
                self._add_module(module)
            self._add_file(path, function.__module__ or "")
            if not self._is_installed(path, function.__module__ or ""):
                # A file may hold several functions of one name, such as lambdas.
                self._add_code(function.__code__, function.__globals__)
        elif not self._add_compiled(module):
            self._add_code(function.__code__, function.__globals__)

    def _add_code(self, code: CodeType, names: Mapping[str, Any]) -> None:
        """Record what a function compiles to, and the values of the globals it reads: a program sets them."""
        if not self._is_new(code):
            return
        held = [each for each in code.co_consts if not isinstance(each, CodeType)]
        self.code.append([code.co_qualname, code.co_code.hex(), code.co_names, self.describe(tuple(held))])
        self._waiting += self._read_by(code, names)
        for each in code.co_consts:
            if isinstance(each, CodeType):
                self._add_code(each, names)

    def _read_by(self, code: CodeType, names: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """Yield the globals that code reads, and what it may read of a module of the user's."""
        found = [(name, names[name]) for name in _globals_read(code, names)]
        modules = set()
        for name, value in found:
            yield name, value
            if not isinstance(value, ModuleType) or value.__name__ in modules:
                continue
            modules.add(value.__name__)
            path = _module_file(value)
            if path is not None and not self._is_installed(path, value.__name__):
                used = sorted(each for each in set(code.co_names) & set(vars(value)) if each[:2] != "__")
                found += [(f"{name}.{each}", vars(value)[each]) for each in used]

    def _add_class(self, klass: type) -> None:
        for base in klass.__mro__:
            name = base.__module__
            if name.partition(".")[0] in sys.stdlib_module_names or id(base) in self._classes:
                continue
            self._classes[id(base)] = base
            module = sys.modules.get(name)
            path = _module_file(module)
            if module is not None and path is not None:
                self._add_module(module)
                if self._is_installed(path, name):
                    continue
            for key, member in vars(base).items():
                # Such as the methods that a dataclass generates.
                if key.startswith("__") and key not in _CALLED:
                    continue
                # Methods are described even of a class in a file: they may have closures and read globals.
                # Without a module the functions tell whether there is Python code at all.
                inner = _function_of(member)
                if not isinstance(inner, _DESCRIPTORS):
                    self._waiting.append((f"{base.__qualname__}.{key}", inner))

    def _add_module(self, module: ModuleType) -> None:
        path = _module_file(module)
        if path is None:
            if not hasattr(module, "__path__") and module.__name__ not in sys.stdlib_module_names:
                self.missing.add(module.__name__)
            return
        if not self._add_file(path, module.__name__) or self._is_installed(path, module.__name__):
            return
        names = imported_modules(path, module.__package__ or "")
        for value in list(vars(module).values()):
            name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
            names |= {name} if isinstance(name, str) else set()
        for name in sorted(names):
            other = sys.modules.get(name)
            other_path = _module_file(other)
            if other is not None and other_path and not self._is_installed(other_path, name):
                self._add_module(other)

    def _add_compiled(self, module: ModuleType | None) -> bool:
        """Use the module's own file for a function without one: compiled, or generated by a library."""
        path = _module_file(module)
        if module is None or path is None:
            return False
        if path.suffix == ".py" and not self._is_installed(path, module.__name__):
            return False
        self._add_module(module)
        return True

    def _add_file(self, path: Path, module_name: str) -> bool:
        """Hash a file; return False if it was hashed before."""
        if path in self.files or _is_under(path, (_PACKAGE, *_STANDARD)):
            return False
        self.files[path] = hashlib.sha256(path.read_bytes()).hexdigest()
        top = module_name.partition(".")[0]
        version = getattr(sys.modules.get(top), "__version__", None)
        if isinstance(version, str):
            self.versions[top] = version
        return True

    def _is_installed(self, path: Path | None, module_name: str) -> bool:
        if path is None or module_name.partition(".")[0] == self._own:
            return False
        in_packages = not {"site-packages", "dist-packages"}.isdisjoint(path.parts)
        return in_packages or _is_under(path, (_PACKAGE, *_STANDARD))


def _globals_read(code: CodeType, names: Mapping[str, Any]) -> list[str]:
    """Return the names of the globals that code reads, other than collections that it only fills.

    A number that it also assigns is left out, too: it counts something.
    """
    steps = list(dis.get_instructions(code))
    assigned = {step.argval for step in steps if step.opname == "STORE_GLOBAL"}
    read = {
        step.argval
        for step, after in pairwise(steps)
        if step.opname in _READS_GLOBAL and not (after.opname in _TAKES_METHOD and after.argval in _FILLS)
    }
    counters = {name for name in assigned if isinstance(names.get(name), int | float | None)}
    return sorted(name for name in (read & set(names)) - counters if not name.startswith("__"))


def _function_of(member: Any) -> Any:
    """Return the function of a static method, class method or property, else the member itself."""
    for name in ("__func__", "fget", "func"):
        if isinstance(inner := getattr(member, name, None), FunctionType):
            return inner
    return member


def _state(value: Any) -> dict[str, Any]:
    """Return the settings an object holds: attributes, slots, closure, bound object, generated code."""
    held = {
        name: each
        for name, each in getattr(value, "__dict__", {}).items()
        if name not in _NOT_SETTINGS and not (name == "forward" and _is_ours(each))
    }
    if isinstance(value, FunctionType):
        defaults = {"defaults": value.__defaults__, "keywords": value.__kwdefaults__}
        return {**held, **defaults, "closure": tuple(_contents(cell) for cell in value.__closure__ or ())}
    if isinstance(value, MethodType):
        return {"function": value.__func__, "self": value.__self__}
    if isinstance(value, functools.partial):
        return {**held, "function": value.func, "arguments": value.args, "keywords": value.keywords}
    for klass in type(value).__mro__:
        slots = vars(klass).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__") and hasattr(value, name):
                held[name] = getattr(value, name)
    if isinstance(code := getattr(value, "code", None), str):  # of a traced or scripted network
        held["code"] = code
    return held


def _is_ours(forward: Any) -> bool:
    """Whether a layer got its forward pass from this package, which computes its last product in float32."""
    return isinstance(forward, FunctionType) and Path(forward.__code__.co_filename).is_relative_to(_PACKAGE)


def _contents(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # the variable is not assigned yet
        return None


def imported_modules(path: Path, package: str) -> set[str]:
    """Return the modules that a source file imports, and imported names that may be modules."""
    if path.suffix != ".py":
        return set()
    names = set()
    for node in ast.walk(ast.parse(path.read_bytes(), str(path))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            names |= {origin, *(f"{origin}.{alias.name}" for alias in node.names)}
    return names


def _array_digest(array: Any) -> str:
    content = plain_repr(array.tolist()).encode() if array.dtype.hasobject else array.tobytes()
    return hashlib.sha256(f"{array.dtype} {array.shape} ".encode() + content).hexdigest()


def _module_file(module: ModuleType | None) -> Path | None:
    file = getattr(module, "__file__", None)
    return Path(file) if isinstance(file, str) and Path(file).is_file() else None


def _is_under(path: Path, folders: tuple[Path, ...]) -> bool:
    packages = {"site-packages", "dist-packages"}
    return packages.isdisjoint(path.parts) and any(path.is_relative_to(folder) for folder in folders)
