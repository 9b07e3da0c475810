"""Models that are PyTorch networks: images under autocast, texts in float32, with and without a head."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from counterground.errors import CounterGroundError, UsageError, error_summary
from counterground.models._base import Classifier, DualEncoder, Encoder, ImageEncoder, LoadOptions, Model
from counterground.models._execution import (
    Forward,
    Runtime,
    autocast,
    freed_memory_kept,
    own_layers,
    runtimes_for,
)
from counterground.models._fingerprint import (
    WEIGHTS_HASH,
    combine,
    library_versions,
    plain_repr,
    tensor_digests,
)
from counterground.models._labels import Labels
from counterground.text import counted

if TYPE_CHECKING:
    import torch
    from PIL import Image


class NetworkEncoder(Encoder):
    """An encoder whose photos go through one network.

    Args:
        spec: the specification as written.
        network: the whole network; it is put into evaluation mode, on the device.
        transform: photo -> the network's input.
        options: device and precision.
        description: what is known of the weights; completed here.
        libraries: distributions whose versions enter the fingerprint.
        preprocessing: JSON-ready account of ``transform``, None to use its ``repr``.
        identity: what else enters the fingerprint, JSON-ready.

    Attributes:
        image_network: from ``[n, 3, h, w]`` on ``device`` to logits or embeddings.
    """

    image_network: torch.nn.Module
    _runtime: Runtime | None = None
    _forward: Forward | None = None

    def __init__(
        self,
        spec: str,
        network: Any,
        transform: Callable[[Image.Image], torch.Tensor],
        *,
        options: LoadOptions,
        description: Mapping[str, Any],
        libraries: Sequence[str],
        preprocessing: Any = None,
        **identity: Any,
    ) -> None:
        self.spec, self.device, self.dtype = spec, options.device, options.precision
        self.transform = transform
        facts = {
            "preprocessing": plain_repr(transform) if preprocessing is None else preprocessing,
            "libraries": library_versions(*libraries),
        }
        weights = tensor_digests(network.state_dict())
        self.fingerprint = combine(weights=weights, dtype=self.dtype, **facts, **identity)
        self.image_network = self.network = network.eval().to(self.device)
        parameters = sum(parameter.numel() for parameter in network.parameters())
        warnings = list(description.get("warnings", ()))
        known = {"parameters": parameters, WEIGHTS_HASH: combine(weights=weights)}
        self.description = {**description, **known, **facts, "warnings": warnings}

    def preprocess(self, image: Image.Image) -> torch.Tensor:
        if self.convert_rgb_first and image.mode != "RGB":
            image = image.convert("RGB")
        return self.transform(image)

    def grey_photo(self) -> torch.Tensor:
        """Return the network's input for a grey photo, ``[1, 3, h, w]`` on its device."""
        from PIL import Image

        return self.preprocess(Image.new("RGB", (256, 256), (128, 128, 128)))[None].to(self.device)

    @cached_property
    def runtimes(self) -> tuple[Runtime, ...]:
        return runtimes_for(self.device, self.dtype)

    def run_by(self, runtime: Runtime) -> NetworkEncoder:
        other = copy.copy(self)
        other._runtime, other._forward, other.runtime = runtime, None, runtime.name  # noqa: SLF001
        other.fingerprint = combine(eager=self.fingerprint, runtime=runtime.name)
        return other

    def forward(self, batch: torch.Tensor) -> Any:
        """Return the network's output for a batch; the first batch starts a runtime."""
        import torch

        batch = batch.to(self.device)
        if self._forward is None and self._runtime:
            self._forward = self._runtime.start(self.image_network, batch)
        with torch.inference_mode(), autocast(self.device, self.dtype):
            return (self._forward or self.image_network)(batch)


def image_tower(
    network: torch.nn.Module, features: Callable[[Any, torch.Tensor], torch.Tensor]
) -> torch.nn.Module:
    """Return the image side of a network as a separate network: ``features(network, batch)``."""
    import torch

    class ImageTower(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            return features(self.network, batch)

    return ImageTower()


# Tokens in one forward pass: enough to fill the cores, few enough to stay near their caches.
TOKENS = 4096


class TextEncoder:
    """Encodes texts in float32, each distinct one once.

    Args:
        network: network with ``encode_text``, from tokens to embeddings.
        tokenizer: list of texts -> ``[n, context]`` tokens.
        device: where the network lives.
    """

    def __init__(self, network: Any, tokenizer: Any, device: str) -> None:
        self.network, self.tokenizer, self.device = network, tokenizer, device

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Return unit-length embeddings ``[n, dim]`` float32 in the order of ``texts``."""
        import torch

        if not texts:
            return self(["a text, to learn the width"])[:0]
        distinct = list(dict.fromkeys(texts))
        rows = {text: row for row, text in enumerate(distinct)}
        with torch.inference_mode(), freed_memory_kept():
            embedded = self.encode(distinct)
        return np.take(embedded, [rows[text] for text in texts], axis=0)

    def count_cut(self, texts: list[str]) -> tuple[int, int]:
        """Return how many of distinct texts are cut, and the most tokens that a text may have."""
        del texts
        return 0, 0

    def encode(self, texts: list[str]) -> np.ndarray:
        """Return the embeddings of distinct texts."""
        return self.encode_tokens(self.tokenizer(texts))

    def encode_tokens(self, tokens: torch.Tensor) -> np.ndarray:
        """Return the embeddings of tokens ``[n, context]`` at their full length."""
        import torch

        parts = torch.split(tokens, max(1, TOKENS // tokens.shape[1]))
        return np.concatenate([unit_length(self.features(part.to(self.device))) for part in parts])

    def features(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the network's embeddings of tokens, not necessarily of unit length."""
        return self.network.encode_text(tokens)  # type: ignore[no-any-return]


class TorchDualEncoder(NetworkEncoder, DualEncoder):
    """A dual encoder whose two towers are one PyTorch network.

    The image tower runs in ``dtype`` under autocast, the text tower always in float32; both are normalised in
    float32.

    Args:
        spec: the specification as written.
        network: the towers.
        features: the network and a batch of photos -> embeddings, not necessarily of unit length.
        transform: photo -> the network's input.
        texts: encoder of texts.
        scale: factor on similarities that the weights hold.
        facts: as for `NetworkEncoder`.

    Raises:
        CounterGroundError: ``scale`` is not a positive number.
    """

    def __init__(
        self,
        spec: str,
        network: Any,
        features: Callable[[Any, torch.Tensor], torch.Tensor],
        transform: Callable[[Image.Image], torch.Tensor],
        texts: TextEncoder,
        *,
        scale: float,
        **facts: Any,
    ) -> None:
        super().__init__(spec, network, transform, **facts)
        self.image_network = image_tower(self.network, features)
        if not 0 < scale < math.inf:
            raise CounterGroundError(f"{spec}: the weights hold a logit scale of {scale}.")
        self.logit_scale, self.texts = scale, texts
        self.dim = int(self.encode_texts(["a photo"]).shape[1])

    def encode(self, batch: torch.Tensor) -> torch.Tensor:
        import torch

        return torch.nn.functional.normalize(self.forward(batch).float(), dim=-1).cpu()

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        return self.texts(texts)

    def text_warnings(self, texts: Sequence[str]) -> Sequence[str]:
        cut, most = self.texts.count_cut(list(dict.fromkeys(texts)))
        have, are = ("has", "is") if cut == 1 else ("have", "are")
        return [f"{counted(cut, 'text')} {have} more than {most} tokens and {are} cut."] if cut else []


def unit_length(features: torch.Tensor) -> np.ndarray:
    """Return embeddings ``[n, dim]`` of unit length, float32 on the CPU."""
    import torch

    unit: np.ndarray = torch.nn.functional.normalize(features.float(), dim=-1).cpu().numpy()
    return unit


class NetworkClassifier(NetworkEncoder, Classifier):
    """A PyTorch network with one logit per class.

    Under bf16 and fp16 the last linear layer runs in float32 outside autocast, if one is found;
    ``description["final_layer"]`` says which, or that there is none.

    Args:
        spec: the specification as written.
        network: ``[n, 3, h, w]`` -> logits ``[n, classes]``, also as ``logits`` of a dict or object.
        transform: photo -> ``[3, h, w]``.
        labels: name and ImageNet-1K index (or None) of each logit, and warnings about them.
        facts: as for `NetworkEncoder`.
    """

    def __init__(
        self,
        spec: str,
        network: torch.nn.Module,
        transform: Callable[[Image.Image], torch.Tensor],
        labels: Labels,
        **facts: Any,
    ) -> None:
        self.class_names, self.imagenet_columns = labels.names, labels.columns
        self.dim = len(labels.names)
        super().__init__(spec, network, transform, classes=labels.names, **facts)
        note = "float32"
        if self.dtype != "fp32":
            final = final_linear(network, self.dim, self.grey_photo)
            if final is not None:
                keep_float32(final[1], self.device)
            note = f"{final[0]} in float32" if final else f"computed in {self.dtype}: no last linear layer"
        warnings = [*self.description["warnings"], *labels.warnings]
        self.description |= {"classes": self.dim, "final_layer": note, "warnings": warnings}

    def encode(self, batch: torch.Tensor) -> torch.Tensor:
        logits = output_of(self.display_name, self.forward(batch), "logits")
        if logits.shape != (len(batch), self.dim):
            raise CounterGroundError(
                f"{self.display_name}: the network returned {tuple(logits.shape)}, not logits "
                f"({len(batch)}, {self.dim}): one for each photo and each of {counted(self.dim, 'name')}."
            )
        return logits.float().cpu()


def output_of(spec: str, output: Any, what: str) -> torch.Tensor:
    """Return the tensor in what a network returned: itself, or ``logits`` of an object or mapping.

    Raises:
        CounterGroundError: it is not the expected ``what``.
    """
    import torch

    keyed = isinstance(output, Mapping) and "logits" in output
    logits = output["logits"] if keyed else getattr(output, "logits", output)
    if not isinstance(logits, torch.Tensor):
        keys = f" with {', '.join(map(str, output))}" if isinstance(output, Mapping) else ""
        raise CounterGroundError(
            f"{spec}: the network returned {type(output).__name__}{keys}; expected a tensor of {what}, or a "
            "dict or object with 'logits'."
        )
    return logits


def final_linear(
    network: torch.nn.Module, classes: int, pixels: Callable[[], torch.Tensor] | None = None
) -> tuple[str, torch.nn.Module] | None:
    """Return name and module of the last linear layer with ``classes`` outputs, None without one.

    Of several it is the one that runs last on ``pixels``, if given: others may serve training only.
    """
    import torch

    linear: list[tuple[str, torch.nn.Module]] = [
        (name, module)
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Linear) and module.out_features == classes
    ]
    if len(linear) > 1 and pixels is not None:
        ran: list[tuple[str, torch.nn.Module]] = []
        hooks = [each[1].register_forward_hook(lambda *_, each=each: ran.append(each)) for each in linear]
        with torch.inference_mode():
            network(pixels())
        for hook in hooks:
            hook.remove()
        linear = ran or linear
    return linear[-1] if linear else None


def keep_float32(layer: torch.nn.Module, device: str) -> None:
    """Run ``layer`` in float32 whatever autocast is in force around it."""
    import torch

    forward = layer.forward

    def forward_float32(features: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device.partition(":")[0], enabled=False):
            return forward(features.float())  # type: ignore[no-any-return]

    layer.forward = forward_float32


class NetworkTower(NetworkEncoder, ImageEncoder):
    """A PyTorch network whose output is one vector of features for each photo.

    Args:
        spec: the specification as written.
        network: ``[n, 3, h, w]`` -> features ``[n, d]``.
        transform: photo -> ``[3, h, w]``.
        facts: as for `NetworkEncoder`.

    Raises:
        CounterGroundError: the network fails on a grey photo, or does not return one vector for it.
    """

    def __init__(
        self,
        spec: str,
        network: torch.nn.Module,
        transform: Callable[[Image.Image], torch.Tensor],
        **facts: Any,
    ) -> None:
        super().__init__(spec, network, transform, features="without a head", **facts)
        try:
            self.dim = int(self.encode(self.grey_photo()).shape[1])
        except CounterGroundError:
            raise
        except Exception as error:
            raise CounterGroundError(
                f"{spec}: computing its features of a grey photo failed ({error_summary(error)})."
            ) from error
        self.description |= {"features": self.dim}

    def encode(self, batch: torch.Tensor) -> torch.Tensor:
        features = output_of(self.display_name, self.forward(batch), "features")
        if features.ndim > 2 and features.shape[2:].numel() == 1:
            features = features.flatten(1)
        if features.ndim != 2 or len(features) != len(batch):
            raise CounterGroundError(
                f"{self.display_name}: the network returned {tuple(features.shape)} for "
                f"{counted(len(batch), 'photo')}; a head needs one vector of features for each photo."
            )
        return features.float().cpu()


def cut_head(
    spec: str,
    network: torch.nn.Module,
    classes: int,
    pixels: Callable[[], torch.Tensor] | None = None,
) -> str:
    """Replace the last linear layer with ``classes`` outputs by the identity; return its name.

    See `final_linear` for which layer counts as the last.

    Raises:
        UsageError: there is none.
    """
    import torch

    found = final_linear(network, classes, pixels)
    if found is None or not found[0]:
        raise UsageError(
            f"{spec}: there is no linear layer with {counted(classes, 'output')} before which features could "
            "be taken. Return (network, preprocess) from a function, with a network that ends in features."
        )
    network.set_submodule(found[0], torch.nn.Identity())
    return found[0]


def without_head(model: Model, options: LoadOptions) -> Encoder:
    """Return the image encoder of a model, for a head that is fitted on its features.

    For a dual encoder this is its image side, with embeddings of unit length; for a network with classes, the
    input of its last linear layer. The network itself keeps that layer: it may be the user's.

    Raises:
        UsageError: the features of this model are not available.
    """
    if isinstance(model, DualEncoder | ImageEncoder):
        return model
    remedy = "Return (network, preprocess) from a function, with a network that ends in features."
    if not isinstance(model, NetworkClassifier):
        raise UsageError(f"{model.spec} gives no features for a head. {remedy}")
    try:
        network = own_layers(model.image_network)
    except Exception as error:
        raise UsageError(
            f"{model.spec}: its network cannot be copied without its last layer ({error_summary(error)}). "
            f"{remedy}"
        ) from error
    layer = cut_head(model.spec, network, model.dim, model.grey_photo)
    kept = ("architecture", "weights", "training_data", "warnings")
    return NetworkTower(
        model.spec,
        network,
        model.transform,
        description={**{key: model.description[key] for key in kept}, "final_layer": f"before {layer}"},
        configuration={"classifier": model.fingerprint, "before": layer},
        libraries=tuple(model.description["libraries"]),
        options=options,
    )


_DEPTHS = (0.5, 0.75)  # earlier layers tell scenes apart, later ones their kinds; the last know the object


def middle_layers(model: Encoder, options: LoadOptions) -> tuple[Encoder, list[int]]:
    """Return what two blocks of a network see, averaged over the photo, and the width of each part.

    They are halfway and at three quarters of the layers with weights. Blocks are the numbered parts of a
    network, such as residual blocks. A model without any is returned itself.
    """
    if not isinstance(model, NetworkEncoder):
        return model, [model.dim]
    network = own_layers(model.image_network)
    blocks = _blocks(network, model.grey_photo())
    if not blocks:
        return model, [model.dim]
    whole = blocks[-1].weighted
    chosen = [min(blocks, key=lambda block: abs(block.weighted - depth * whole)) for depth in _DEPTHS]
    names = [block.name for block in chosen]
    tower = NetworkTower(
        model.spec,
        image_tower(network, lambda whole, batch: _seen_by(whole, names, batch)),
        model.transform,
        description={"architecture": model.description.get("architecture"), "layers": names},
        configuration={"network": model.fingerprint, "layers": names},
        libraries=tuple(model.description["libraries"]),
        options=options,
    )
    return tower, [block.width for block in chosen]


def _seen_by(network: torch.nn.Module, names: Sequence[str], batch: torch.Tensor) -> torch.Tensor:
    """Return the outputs of layers ``[n, c]``, averaged over pixels or tokens, side by side."""
    import torch

    kept: dict[str, torch.Tensor] = {}
    hooks = [
        network.get_submodule(name).register_forward_hook(
            lambda _layer, _given, output, name=name: kept.update({name: _averaged(output)})
        )
        for name in names
    ]
    try:
        network(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.cat([kept[name] for name in names], dim=1)


def _averaged(output: Any) -> torch.Tensor:
    output = output[0] if isinstance(output, tuple) else output
    return output.flatten(2).mean(2) if output.ndim == 4 else output.mean(1)  # type: ignore[no-any-return]


class _Block(NamedTuple):
    """A block that gives a map of a photo: layers with weights up to it, name, number of channels."""

    weighted: int
    name: str
    width: int


def _blocks(network: torch.nn.Module, photo: torch.Tensor) -> list[_Block]:
    """Return the blocks of a network in the order in which they end."""
    import torch

    weighted = 0
    blocks: list[_Block] = []

    def ran(name: str, layer: torch.nn.Module, output: Any) -> None:
        nonlocal weighted
        weighted += bool(layer._parameters) and not list(layer.children())  # noqa: SLF001
        output = output[0] if isinstance(output, tuple) else output
        maps = isinstance(output, torch.Tensor) and output.ndim in (3, 4) and len(output) == 2
        if maps and name.rpartition(".")[2].isdigit() and list(layer.children()):
            blocks.append(_Block(weighted, name, _averaged(output).shape[1]))

    hooks = [
        layer.register_forward_hook(lambda layer, _given, output, name=name: ran(name, layer, output))
        for name, layer in network.named_modules()
    ]
    with torch.inference_mode():
        network(torch.cat([photo, photo]))
    for hook in hooks:
        hook.remove()
    return blocks
