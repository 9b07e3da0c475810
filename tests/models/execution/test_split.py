"""Preprocessing in two halves gives the numbers of each library's own transform, to the last bit."""

from __future__ import annotations

import pytest
import timm.data
import tiny_hf
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torchvision import models, transforms

from counterground.models import LoadOptions, load_model

# A network whose transform the test chooses.
from counterground.models.classifiers import NetworkClassifier


def classifier(transform) -> NetworkClassifier:
    return NetworkClassifier(
        "object:any",
        torch.nn.Linear(3, 2),
        transform,
        class_names=("a", "b"),
        imagenet_columns=(0, 1),
        description={},
        configuration={},
        libraries=(),
        options=LoadOptions(),
    )


def noise(size, mode="RGB"):
    return Image.effect_noise(size, 120).rotate(30).convert(mode)


PHOTOS = [
    noise((300, 200)),
    noise((97, 351)),
    noise((224, 224)),
    noise((120, 100), "L"),
    noise((90, 80), "P"),
]


def timm_transform(**settings):
    shape = {"input_size": (3, 96, 96), "crop_pct": 0.9, "mean": (0.48, 0.45, 0.4), "std": (0.22, 0.23, 0.24)}
    return timm.data.create_transform(**{**shape, "interpolation": "bicubic", **settings}, is_training=False)


def compose(*steps):
    return transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.3] * 3)])


TRANSFORMS = {
    "open_clip": image_transform_v2(PreprocessCfg(size=64), is_train=False),
    "open_clip squash": image_transform_v2(PreprocessCfg(size=64, resize_mode="squash"), is_train=False),
    "torchvision": models.ResNet50_Weights.IMAGENET1K_V2.transforms(),
    "torchvision bicubic": models.ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1.transforms(),
    "timm": timm_transform(),
    "timm squash": timm_transform(crop_mode="squash"),
    "own": compose(transforms.Resize((80, 70)), transforms.CenterCrop(64)),
}


def same_halves(model, photos):
    crops = [model.split.crop(photo) for photo in photos]
    assert {crop.dtype for crop in crops} == {torch.uint8}
    expected = torch.stack([model.preprocess(photo) for photo in photos])
    assert expected.dtype == torch.float32
    assert expected.unique().numel() > 100
    return torch.equal(model.split.normalise(torch.stack(crops)), expected)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_the_halves_add_up_to_the_transform(name):
    assert same_halves(classifier(TRANSFORMS[name]), PHOTOS)


def test_the_halves_of_open_clip_keep_its_order_of_conversion(tiny_clip):
    models = [load_model(f"open_clip:{tiny_clip}{option}", device="cpu") for option in ("", "?as_published")]
    assert all(same_halves(model, PHOTOS) for model in models)
    assert len({model.split.geometry for model in models}) == 2


@pytest.mark.parametrize("name", ["clip", "vit", "siglip"])
def test_the_halves_of_transformers_processors(name, tmp_path):
    assert same_halves(load_model(f"hf:{tiny_hf.build(name, tmp_path)}", device="cpu"), PHOTOS[:3])


def test_lite_is_split():
    assert same_halves(load_model("efficientnet-lite0", device="cpu"), PHOTOS)


UNKNOWN = {
    "function": lambda image: torch.zeros(3, 4, 4),
    "step of one's own": compose(transforms.Resize((8, 8)), lambda image: image.rotate(3)),
    "random step": compose(transforms.RandomResizedCrop(8)),
    "other order": transforms.Compose([transforms.ToTensor(), transforms.Resize((8, 8))]),
    "without normalisation": transforms.Compose([transforms.Resize((8, 8)), transforms.ToTensor()]),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_not_known_is_not_split(name):
    assert classifier(UNKNOWN[name]).split is None


def test_models_share_a_crop_only_where_it_is_the_same():
    def geometry(*steps):
        return classifier(compose(*steps)).split.geometry

    def resize(size, kind="bilinear"):
        return transforms.Resize(size, transforms.InterpolationMode(kind))

    crop = transforms.CenterCrop(224)
    preset = models.ResNet50_Weights.IMAGENET1K_V2.transforms()
    assert classifier(preset).split.geometry == geometry(resize(232), crop)
    others = {
        geometry(resize(232, "bicubic"), crop),
        geometry(resize(256), crop),
        geometry(resize((232, 232)), crop),
    }
    assert len({geometry(resize(232), crop), geometry(resize(232), transforms.CenterCrop(200)), *others}) == 5
