"""A network without its classifier: the input of its last layer, as features for a fitted head."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from counterground.errors import CounterGroundError, UsageError, error_summary
from counterground.models._base import DualEncoder, Encoder, ImageEncoder, Model
from counterground.models._family import LoadOptions
from counterground.models._fingerprint import combine, library_versions, plain_repr, tensor_digests
from counterground.models.classifiers._classifier import NetworkClassifier, final_linear, output_of
from counterground.models.execution import for_inference, own_layers, split_transform
from counterground.models.networks import NetworkEncoder
from counterground.text import counted

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from PIL import Image


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
        self.spec, self.device, self.dtype = spec, options.device, options.precision
        self.transform = transform
        self.split = split_transform(transform)
        versions = library_versions(*libraries)
        preprocessing = plain_repr(transform)
        self.weights = tensor_digests(network.state_dict())
        self.fingerprint = combine(
            weights=self.weights,
            configuration=configuration,
            preprocessing=preprocessing,
            features="without a head",
            dtype=self.dtype,
            libraries=versions,
        )
        self.image_network = for_inference(network, self.device)
        self.dim = self._width()
        self.description = {
            **description,
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "features": self.dim,
            "preprocessing": preprocessing,
            "libraries": versions,
            "warnings": list(description.get("warnings", [])),
        }

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
    last = model.image_network.get_submodule(layer)
    kept = ("architecture", "weights", "training_data", "warnings")
    ran: list[bool] = []
    watched = last.register_forward_pre_hook(lambda *_: ran.append(True))
    try:
        tower = NetworkTower(
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
    finally:
        watched.remove()
    if ran:  # such as a `forward` that is a closure over the network
        raise UsageError(
            f"{model.spec}: a copy of its network without the last layer still runs that of the original. "
            "Return (network, preprocess) from a function, with a network that ends in features."
        )
    return tower
