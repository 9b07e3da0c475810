"""``module:function``: a model of the user's own."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterground.errors import CounterGroundError, UsageError, did_you_mean
from counterground.models._base import Classifier, DualEncoder, Model, Precision
from counterground.models._classifier import NetworkClassifier, final_linear
from counterground.models._device import autocast
from counterground.models._fingerprint import combine, library_versions, tensor_digests
from counterground.models._texts import TextEncoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import torch
    from PIL import Image

_PROTOCOL = (
    "return a DualEncoder or Classifier, (network, preprocess), (network, preprocess, class_names) or "
    "(clip, preprocess, tokenizer)"
)


def load_user(spec: str, *, device: str, precision: Precision, as_published: bool) -> Model:
    """Call the user's function, without arguments, and wrap what it returns.

    The function may return

    - a `DualEncoder` or a `Classifier`, used as it is;
    - ``(network, preprocess)`` or ``(network, preprocess, class_names)``: a classifier. ``network`` is a
      torch.nn.Module from ``[n, 3, h, w]`` to logits, ``preprocess`` turns an RGB PIL image into
      ``[3, h, w]``, ``class_names`` names the logits; without names there must be 1000 logits, taken to be
      ImageNet-1K in its usual order;
    - ``(clip, preprocess, tokenizer)``: a dual encoder. ``clip`` is a torch.nn.Module with
      ``encode_image(batch)``, ``encode_text(tokens)`` and, if it has one, ``logit_scale`` (a logarithm, as in
      OpenCLIP); ``tokenizer`` turns a list of texts into a tensor.

    Raises:
        UsageError: no such module or function, or it returns something else.
        CounterGroundError: the function itself fails.
    """
    made = _call(spec)
    if isinstance(made, DualEncoder | Classifier):
        made.spec = spec
        return made
    if not isinstance(made, tuple) or len(made) not in (2, 3) or not callable(made[1]):
        raise UsageError(f"{spec} returned {type(made).__name__}; it must {_PROTOCOL}.")
    network = _check_network(spec, made[0])
    third = made[2] if len(made) == 3 else None
    if callable(third):
        for method in ("encode_image", "encode_text"):
            if not callable(getattr(network, method, None)):
                raise UsageError(f"{spec}: a dual encoder needs {method}(); the function must {_PROTOCOL}.")
        return UserDualEncoder(spec, network, made[1], third, device=device, precision=precision)
    names, columns, warnings = _classes(spec, network, third)
    return NetworkClassifier(
        spec,
        network,
        made[1],
        class_names=names,
        imagenet_columns=columns,
        description={
            "architecture": type(network).__name__,
            "weights": spec,
            "training_data": None,
            "warnings": warnings,
        },
        configuration={"library": "user", "class": type(network).__qualname__, "network": repr(network)},
        libraries=("torchvision", "timm"),
        device=device,
        precision=precision,
        as_published=as_published,
    )


class UserDualEncoder(DualEncoder):
    """The user's own image and text towers, made to give float32 embeddings of unit length."""

    def __init__(
        self,
        spec: str,
        network: Any,
        preprocess: Callable[[Image.Image], torch.Tensor],
        tokenizer: Callable[[list[str]], torch.Tensor],
        *,
        device: str,
        precision: Precision,
    ) -> None:
        import torch

        self.spec, self.device, self.dtype = spec, device, precision
        self._preprocess = preprocess
        self._network = network.eval().requires_grad_(requires_grad=False).to(device)
        scale = getattr(network, "logit_scale", None)
        self.logit_scale = float(torch.as_tensor(scale).exp().reshape(-1)[0]) if scale is not None else 100.0
        libraries = library_versions("open_clip_torch", "transformers")
        configuration = {
            "class": type(network).__qualname__,
            "network": repr(network),
            "libraries": libraries,
        }
        digests = tensor_digests(network.state_dict())
        self.fingerprint = combine(
            weights=digests, preprocessing=repr(preprocess), dtype=precision, **configuration
        )
        self.text_fingerprint = combine(weights=digests, tokenizer=repr(type(tokenizer)), **configuration)
        self.description = {
            "architecture": type(network).__name__,
            "weights": spec,
            "training_data": None,
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "preprocessing": repr(preprocess),
            "libraries": libraries,
            "as_published": False,
            "warnings": [] if scale is not None else ["The model has no logit_scale; 100 is assumed."],
        }
        self._encode_texts = TextEncoder(_Towers(network), tokenizer, device, trim=False, warn=_ignore)
        self.dim = int(self.encode_texts(["a photo"]).shape[1])

    def preprocess(self, image: Image.Image) -> torch.Tensor:
        return self._preprocess(image if image.mode == "RGB" else image.convert("RGB"))

    def encode(self, batch: torch.Tensor) -> torch.Tensor:
        import torch

        with torch.inference_mode():
            with autocast(self.device, self.dtype):
                features = self._network.encode_image(batch.to(self.device))
            return torch.nn.functional.normalize(features.float(), dim=-1).cpu()

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        return self._encode_texts(texts)


class _Towers:
    """Accepts OpenCLIP's ``normalize`` argument for a network that may not know it."""

    def __init__(self, network: Any) -> None:
        self._network = network

    def encode_text(self, tokens: torch.Tensor, normalize: bool = False) -> torch.Tensor:  # noqa: ARG002
        return self._network.encode_text(tokens)  # type: ignore[no-any-return]


def _call(spec: str) -> Any:
    module_name, _, path = spec.partition(":")
    here = str(Path.cwd())
    added = here not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and module_name.startswith(error.name):
            raise UsageError(
                f"{spec}: there is no module {error.name!r} here or among the installed packages."
            ) from error
        raise CounterGroundError(f"{spec}: importing {module_name} failed: {error}.") from error
    except Exception as error:
        raise CounterGroundError(f"{spec}: importing {module_name} failed: {error!r}.") from error
    finally:
        if added:
            sys.path.remove(here)
    function: Any = module
    for part in path.split("."):
        if not hasattr(function, part):
            raise UsageError(f"{spec}: {module_name} has no {path!r}.{did_you_mean(path, dir(module))}")
        function = getattr(function, part)
    if not callable(function):
        raise UsageError(f"{spec}: {path!r} is not a function; it must {_PROTOCOL}.")
    try:
        return function()
    except CounterGroundError:
        raise
    except Exception as error:
        raise CounterGroundError(f"{spec} failed: {error!r}. Use --debug to see where.") from error


def _check_network(spec: str, network: Any) -> torch.nn.Module:
    import torch

    if not isinstance(network, torch.nn.Module):
        raise UsageError(
            f"{spec}: the first of what it returns is {type(network).__name__}, not a torch.nn.Module."
        )
    return network


def _classes(
    spec: str, network: torch.nn.Module, named: Any
) -> tuple[tuple[str, ...], tuple[int | None, ...], list[str]]:
    from counterground.photos import find_imagenet_index, imagenet_names

    if named is None:
        if final_linear(network, 1000) is None:
            raise UsageError(f"{spec}: without class_names the network must end in 1000 ImageNet logits.")
        warning = "No class names were given: the 1000 logits are taken to be ImageNet-1K in its usual order."
        return imagenet_names("openai"), tuple(range(1000)), [warning]
    names = tuple(named)
    columns: list[int | None] = []
    for name in names:
        try:
            columns.append(find_imagenet_index(name))
        except UsageError:
            columns.append(None)
    unknown = columns.count(None)
    warning = (
        f"{unknown} of {len(names)} class names are not ImageNet-1K classes and take part without an index."
    )
    return names, tuple(columns), [warning] if unknown else []


def _ignore(message: str) -> None:
    del message
