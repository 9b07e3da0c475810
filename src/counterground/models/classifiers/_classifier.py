"""The wrappers for every library's classifiers, whole (logits in float32) or without their last layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterground.errors import CounterGroundError, UsageError, error_summary
from counterground.models._base import Classifier, DualEncoder, Encoder, ImageEncoder, Model
from counterground.models._family import LoadOptions, read_options
from counterground.models._labels import read_labels
from counterground.models._weights import split_file
from counterground.models.execution import own_layers
from counterground.models.networks import NetworkEncoder
from counterground.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from PIL import Image


@dataclass(frozen=True)
class ClassifierSource:
    """What a specification names, apart from its library.

    Attributes:
        name: architecture, with a tag or weights if the library has several.
        file: the user's own weights, None for those of the library.
        labels: ``imagenet`` or a file of class names, None if the library knows the names.
    """

    name: str
    file: Path | None
    labels: str | None


def parse_classifier(spec: str) -> ClassifierSource:
    """Return what ``PREFIX:NAME[@FILE][?labels=FILE]`` names.

    Raises:
        UsageError: there is no such file, or an unknown option.
        CounterGroundError: a file of names with an empty line.
    """
    place, _, query = spec.partition("?")
    options = read_options(spec, query, ("labels",))
    labels = options.get("labels")
    if "labels" in options and not labels:
        raise UsageError(f"{spec}: labels= needs a file with one name per line, or imagenet.")
    if labels:
        read_labels(labels)
    name, file = split_file(place)
    return ClassifierSource(name, file, labels)


def refuse_labels(spec: str, source: ClassifierSource) -> None:
    """Refuse names of outputs that a fitted head replaces.

    Raises:
        UsageError: names were given.
    """
    if source.labels is not None:
        raise UsageError(f"{spec}: labels= names outputs that ?head= replaces: leave it out.")


def unnamed(outputs: int) -> tuple[str, ...]:
    """Return placeholder names for outputs without known names."""
    return tuple(f"class {index}" for index in range(outputs))


class NetworkClassifier(NetworkEncoder, Classifier):
    """A PyTorch network with one logit per class.

    Under bf16 and fp16 the last linear layer runs in float32 outside autocast, if one is found;
    ``description["final_layer"]`` says which, or that there is none.

    Args:
        spec: the specification as written.
        network: ``[n, 3, h, w]`` -> logits ``[n, classes]``, also as ``logits`` of a dict or object.
        transform: photo -> ``[3, h, w]``.
        class_names: name of each logit.
        imagenet_columns: ImageNet-1K index of each logit, or None.
        description: what is known of the weights; completed here.
        configuration: JSON-ready account of what was built; enters the fingerprint.
        libraries: distributions whose versions enter the fingerprint.
        options: device and precision.

    Raises:
        CounterGroundError: the numbers of names and ImageNet indices differ.
    """

    def __init__(
        self,
        spec: str,
        network: torch.nn.Module,
        transform: Callable[[Image.Image], torch.Tensor],
        *,
        class_names: tuple[str, ...],
        imagenet_columns: tuple[int | None, ...],
        description: dict[str, Any],
        configuration: dict[str, Any],
        libraries: tuple[str, ...],
        options: LoadOptions,
    ) -> None:
        if len(class_names) != len(imagenet_columns):
            raise CounterGroundError(
                f"{spec}: {len(class_names)} class names for {len(imagenet_columns)} logits."
            )
        self.class_names, self.imagenet_columns = class_names, imagenet_columns
        self.dim = len(class_names)
        super().__init__(
            spec,
            network,
            transform,
            options=options,
            description={**description, "classes": self.dim},
            libraries=libraries,
            configuration=configuration,
            classes=class_names,
        )
        final = None if self.dtype == "fp32" else final_linear(network, self.dim, self.grey_photo)
        if final is not None:
            keep_float32(final[1], self.device)
        note = _final_layer_note(final[0] if final else None, self.dtype)
        self.description = {**self.description, "final_layer": note}

    def encode(self, batch: torch.Tensor) -> torch.Tensor:
        logits = output_of(self.display_name, self.forward(batch), "logits")
        if logits.ndim != 2 or len(logits) != len(batch):
            raise CounterGroundError(
                f"{self.display_name}: the network returned {tuple(logits.shape)} for "
                f"{counted(len(batch), 'photo')}; expected logits ({len(batch)}, {self.dim})."
            )
        if logits.shape[1] != self.dim:
            raise CounterGroundError(
                f"{self.display_name}: the network has {counted(logits.shape[1], 'output')}, but "
                f"{counted(self.dim, 'name')} are given; give one name for each output, in their order."
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
        linear = _in_running_order(network, linear, pixels) or linear
    return linear[-1] if linear else None


def _in_running_order(
    network: torch.nn.Module,
    layers: Sequence[tuple[str, torch.nn.Module]],
    pixels: Callable[[], torch.Tensor],
) -> list[tuple[str, torch.nn.Module]]:
    """Return the layers that run, in the order in which they run."""
    import torch

    ran: list[tuple[str, torch.nn.Module]] = []
    hooks = [each[1].register_forward_hook(lambda *_, each=each: ran.append(each)) for each in layers]
    try:
        with torch.inference_mode():
            network(pixels())
    finally:
        for hook in hooks:
            hook.remove()
    return ran


def keep_float32(layer: torch.nn.Module, device: str) -> None:
    """Run ``layer`` in float32 whatever autocast is in force around it."""
    import torch

    forward = layer.forward

    def forward_float32(features: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device.partition(":")[0], enabled=False):
            return forward(features.float())  # type: ignore[no-any-return]

    layer.forward = forward_float32


def _final_layer_note(name: str | None, precision: str) -> str:
    if precision == "fp32":
        return "float32"
    if name is None:
        return f"no final linear layer found: logits computed in {precision}, then converted to float32"
    return f"{name} in float32, outside autocast"


class NetworkTower(NetworkEncoder, ImageEncoder):
    """A PyTorch network whose output is one vector of features for each photo.

    Args:
        spec: the specification as written.
        network: ``[n, 3, h, w]`` -> features ``[n, d]``.
        transform: photo -> ``[3, h, w]``.
        description: what is known of the weights; completed here.
        configuration: JSON-ready account of what was built; enters the fingerprint.
        libraries: distributions whose versions enter the fingerprint.
        options: device and precision.

    Raises:
        CounterGroundError: the network fails on a grey photo, or does not return one vector for it.
    """

    def __init__(
        self,
        spec: str,
        network: torch.nn.Module,
        transform: Callable[[Image.Image], torch.Tensor],
        *,
        description: dict[str, Any],
        configuration: dict[str, Any],
        libraries: tuple[str, ...],
        options: LoadOptions,
    ) -> None:
        super().__init__(
            spec,
            network,
            transform,
            options=options,
            description=description,
            libraries=libraries,
            configuration=configuration,
            features="without a head",
        )
        self.dim = self._width()
        self.description = {**self.description, "features": self.dim}

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

    def _width(self) -> int:
        try:
            return int(self.encode(self.grey_photo()).shape[1])
        except CounterGroundError:
            raise
        except Exception as error:
            raise CounterGroundError(
                f"{self.spec}: computing its features of a grey photo failed ({error_summary(error)})."
            ) from error


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
    if not isinstance(model, NetworkClassifier):
        raise UsageError(
            f"{model.spec} gives only {'logits' if isinstance(model, Encoder) else 'answers'}, not features "
            "for a head. Return (network, preprocess) from a function, with a network that ends in "
            "features."
        )
    try:
        network = own_layers(model.image_network)
    except Exception as error:
        raise UsageError(
            f"{model.spec}: its network cannot be copied without its last layer ({error_summary(error)}). "
            "Return (network, preprocess) from a function, with a network that ends in features."
        ) from error
    layer = cut_head(model.spec, network, model.dim, model.grey_photo)
    kept = ("architecture", "weights", "training_data", "warnings")
    return NetworkTower(
        model.spec,
        network,
        model.transform,
        description={
            **{key: model.description.get(key) for key in kept},
            "final_layer": f"before {layer}",
        },
        configuration={"classifier": model.fingerprint, "before": layer},
        libraries=tuple(model.description["libraries"]),
        options=options,
    )
