"""``?head=``: image encoders without their heads give what the network gives before its last layer."""

from __future__ import annotations

import pytest
import timm
import tiny_hf
import torch
import torchvision
from noise_photos import noise

from counterground.errors import CounterGroundError, UsageError
from counterground.models import HeadSpec, check_specs, list_models, load_model, split_head


@pytest.fixture
def photo():
    return noise((200, 180))


def encoded(spec, photo):
    check_specs([spec])
    model = load_model(spec, device="cpu", fitted_head=True)
    features = model.encode(model.preprocess(photo)[None])
    assert features.shape == (1, model.dim)
    return model, features


def saved(network, path):
    torch.save(network.state_dict(), path)
    return path


@pytest.mark.parametrize("classes", [0, 7])
def test_timm_gives_its_pre_logits_with_and_without_a_classifier(classes, photo, tmp_path):
    torch.manual_seed(0)
    network = timm.create_model("test_vit", num_classes=classes).eval()
    spec = f"timm:test_vit@{saved(network, tmp_path / 'weights.pth')}?head=knn"
    model, features = encoded(spec, photo)
    assert (model.kind, model.spec, model.head) == ("image_encoder", spec, HeadSpec("knn"))
    with torch.no_grad():
        tokens = network.forward_features(model.preprocess(photo)[None])
        assert torch.allclose(features, network.forward_head(tokens, pre_logits=True), atol=1e-6)


def test_torchvision_gives_what_its_last_layer_is_given_and_needs_no_names(photo, tmp_path):
    torch.manual_seed(0)
    network = torchvision.models.resnet18(num_classes=5).eval()
    model, features = encoded(f"torchvision:resnet18@{saved(network, tmp_path / 'w.pth')}?head=linear", photo)
    network.fc = torch.nn.Identity()
    with torch.no_grad():
        assert torch.allclose(features, network(model.preprocess(photo)[None]), atol=1e-5)


def test_a_dual_encoder_gives_the_embeddings_of_its_zero_shot_head(photo, tiny_clip):
    spec = f"open_clip:{tiny_clip}"
    model, features = encoded(f"{spec}?head=logistic&C=2", photo)
    plain = load_model(spec, device="cpu")
    assert torch.equal(features, plain.encode(plain.preprocess(photo)[None]))
    assert model.fingerprint == plain.fingerprint, "so that features are shared"
    assert plain.head is None


def test_efficientnet_gives_1280_features(photo):
    model, features = encoded("efficientnet-lite0?head=prototypes", photo)
    assert features.shape == (1, 1280)
    whole = load_model("efficientnet-lite0", device="cpu")
    layer = whole.image_network.get_submodule(model.description["final_layer"].removeprefix("before "))
    logits = whole.encode(whole.preprocess(photo)[None])
    with torch.inference_mode():
        assert torch.allclose(layer(features), logits, atol=1e-4)
    assert model.fingerprint != whole.fingerprint


def _vit(folder, *, pooler):
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    config = ViTConfig(**tiny_hf._TOWER, image_size=32, patch_size=8)
    ViTModel(config, add_pooling_layer=pooler).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)


def _ijepa(folder):
    from transformers import IJepaConfig, IJepaModel, ViTImageProcessor

    IJepaModel(IJepaConfig(**tiny_hf._TOWER, image_size=32, patch_size=8)).save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)


def _siglip(folder):
    from transformers import SiglipImageProcessor, SiglipVisionConfig, SiglipVisionModel

    config = SiglipVisionConfig(**tiny_hf._TOWER, image_size=32, patch_size=8, vision_use_head=False)
    SiglipVisionModel(config).save_pretrained(folder)
    SiglipImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)


def _naflex(folder):
    from transformers import Siglip2ImageProcessor, Siglip2VisionConfig, Siglip2VisionModel

    config = Siglip2VisionConfig(**tiny_hf._TOWER, patch_size=8, num_patches=16, vision_use_head=False)
    Siglip2VisionModel(config).save_pretrained(folder)
    Siglip2ImageProcessor(patch_size=8, max_num_patches=16).save_pretrained(folder)


def _resnet(folder):
    from transformers import ConvNextImageProcessor, ResNetConfig, ResNetModel

    ResNetModel(ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1])).save_pretrained(folder)
    ConvNextImageProcessor(size={"shortest_edge": 32}).save_pretrained(folder)


def _classifier(folder):
    tiny_hf.classifier(folder, ["LABEL_0", "LABEL_1"])  # names that mean nothing are no obstacle


HF = {
    "DINOv2": (
        lambda folder: tiny_hf.build("dinov2", folder),
        lambda model, pixels: model(pixels).pooler_output,
    ),
    "ViT": (lambda folder: _vit(folder, pooler=True), lambda model, pixels: model(pixels).pooler_output),
    "DINO, without a pooler": (
        lambda folder: _vit(folder, pooler=False),
        lambda model, pixels: model(pixels).last_hidden_state[:, 0],
    ),
    "ResNet": (_resnet, lambda model, pixels: model(pixels).pooler_output.flatten(1)),
    "classifier": (_classifier, lambda model, pixels: model.vit(pixels).last_hidden_state[:, 0]),
    "CLIP": (
        lambda folder: tiny_hf.build("clip", folder),
        lambda model, pixels: torch.nn.functional.normalize(model.get_image_features(pixels).pooler_output),
    ),
}


@pytest.mark.parametrize("name", HF)
def test_vision_models_of_transformers_give_their_own_features(name, photo, tmp_path):
    from transformers import AutoModel, AutoModelForImageClassification

    build, reference = HF[name]
    torch.manual_seed(0)
    folder = tmp_path / "model"
    build(folder)
    model, features = encoded(f"hf:{folder}?backend=torchvision&head=knn", photo)
    auto = AutoModelForImageClassification if name == "classifier" else AutoModel
    options = {"add_pooling_layer": False} if "without" in name else {}
    network = auto.from_pretrained(folder, **options).eval()
    with torch.no_grad():
        expected = reference(network, model.preprocess(photo)[None])
    assert torch.allclose(features, expected, atol=1e-5)
    assert (
        load_model(f"hf:{folder}?head=knn", device="cpu", fitted_head=True).fingerprint == model.fingerprint
    )


@pytest.mark.parametrize("build", [_ijepa, _siglip, _naflex])
def test_without_a_class_token_every_patch_counts(build, photo, tmp_path):
    from transformers import AutoModel

    torch.manual_seed(0)
    build(tmp_path / "model")
    model, features = encoded(f"hf:{tmp_path / 'model'}?head=knn", photo)
    assert model.description["final_layer"] == "mean of the last layer's tokens"
    inputs = model.transform.inputs(model.preprocess(photo)[None])
    with torch.no_grad():
        tokens = AutoModel.from_pretrained(tmp_path / "model").eval()(**inputs).last_hidden_state[0]
    shown = inputs.get("pixel_attention_mask", torch.ones(1, len(tokens)))[0] > 0
    assert torch.allclose(features[0], tokens[shown].mean(dim=0), atol=1e-5)


def test_a_function_of_the_users_own_may_end_in_features(photo, own_modules, monkeypatch):
    (own_modules / "towers.py").write_text(
        "import torch\n"
        "from torchvision import transforms\n"
        "def pixels():\n"
        "    resize = transforms.Compose([transforms.Resize((8, 8)), transforms.ToTensor()])\n"
        "    return torch.nn.Flatten(), resize\n"
        "def maps():\n"
        "    return torch.nn.Identity(), pixels()[1]\n"
        "def named():\n"
        "    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 2))\n"
        "    return network, pixels()[1], ['cat', 'dog']\n"
        "def normed():\n"
        "    network, *others = named()\n"
        "    hidden = torch.nn.utils.weight_norm(torch.nn.Linear(192, 5))\n"
        "    return torch.nn.Sequential(network[0], hidden, torch.nn.Linear(5, 2)), *others\n"
    )
    monkeypatch.chdir(own_modules)
    model, features = encoded("towers:pixels?head=knn", photo)
    assert torch.equal(features, model.preprocess(photo).flatten()[None])
    assert encoded("towers:named?head=knn", photo)[1].shape == (1, 192)
    assert encoded("towers:normed?head=knn", photo)[1].shape == (1, 5)
    with pytest.raises(CounterGroundError, match="a head needs one vector of features for each photo"):
        load_model("towers:maps?head=knn", device="cpu", fitted_head=True)


def test_a_head_that_serves_training_only_is_not_the_last_layer(photo, own_modules, monkeypatch):
    (own_modules / "auxiliary.py").write_text(
        "import torch\n"
        "from torchvision import transforms\n"
        "class Network(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.body = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 5))\n"
        "        self.head, self.auxiliary = torch.nn.Linear(5, 2), torch.nn.Linear(5, 2)\n"
        "    def forward(self, batch):\n"
        "        features = self.body(batch)\n"
        "        scores = self.head(features)\n"
        "        return (scores, self.auxiliary(features)) if self.training else scores\n"
        "def network():\n"
        "    torch.manual_seed(0)\n"
        "    resize = transforms.Compose([transforms.Resize((8, 8)), transforms.ToTensor()])\n"
        "    return Network(), resize, ['cat', 'dog']\n"
    )
    monkeypatch.chdir(own_modules)
    model, features = encoded("auxiliary:network?head=knn", photo)
    assert model.description["final_layer"] == "before head"
    whole = load_model("auxiliary:network", device="cpu")
    pixels = whole.preprocess(photo)[None]
    with torch.no_grad():
        assert torch.allclose(features, whole.image_network.body(pixels))
    half = load_model("auxiliary:network", device="cpu", precision="bf16")
    assert half.description["final_layer"] == "head in float32"
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        rounded = half.image_network.body(pixels)
    assert torch.equal(half.encode(pixels), whole.image_network.head(rounded.float()).detach())


def test_a_model_without_classes_says_what_it_needs(tmp_path):
    with pytest.raises(UsageError, match=r"timm:vit_small_patch14_dinov2.lvd142m[?]head=knn"):
        check_specs(["timm:vit_small_patch14_dinov2.lvd142m"])
    check_specs(
        ["timm:vit_small_patch14_dinov2.lvd142m?head=knn", "timm:vit_base_patch16_224.mae?head=linear"]
    )
    tiny_hf.build("dinov2", tmp_path / "dino")
    with pytest.raises(UsageError, match=r"cannot be scored as it is.*add [?]head=knn"):
        check_specs([f"hf:{tmp_path / 'dino'}"])
    (listed,) = list_models("timm:vit_small_patch14_dinov2.lvd142m")
    assert (listed.kind, "?head=knn" in listed.note) == ("image_encoder", True)


REFUSED = {
    "http://127.0.0.1:1/v1#model?head=knn": "a generative model answers in text",
    "torchvision:resnet18?labels=imagenet&head=knn": "unknown option 'labels'",
    "counterground:stamps-biased?head=mlp": "Unknown head 'mlp'",
}


@pytest.mark.parametrize("spec", REFUSED)
def test_a_head_where_there_can_be_none_is_refused(spec):
    with pytest.raises(UsageError, match=REFUSED[spec]):
        check_specs([spec])


def test_masked_autoencoders_and_texts_of_transformers_are_refused(tmp_path):
    for number, (config, said) in enumerate(
        [
            ({"model_type": "vit_mae", "architectures": ["ViTMAEForPreTraining"]}, "timm has its encoder"),
            ({"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"]}, "answers in text"),
        ]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "config.json").write_text(str(config).replace("'", '"'))
        with pytest.raises(UsageError, match=said):
            check_specs([f"hf:{folder}?head=knn"])


def test_a_specification_keeps_its_other_options():
    assert split_head("hf:a/b?trust_remote_code&head=knn&k=5") == (
        "hf:a/b?trust_remote_code",
        HeadSpec("knn", 5),
    )
    assert split_head("timm:name@file.pth?head=logistic") == ("timm:name@file.pth", HeadSpec("logistic"))
    assert split_head("http://host/v1?x=1#model?jobs=2") == ("http://host/v1?x=1#model?jobs=2", None)
