"""Specifications, lists, weights that must not run code, models of the user's own."""

import pickle
import subprocess
import sys

import numpy as np
import open_clip
import pytest
import timm
import torch
import torchvision
from evil_pickle import Evil
from noise_photos import noise

from counterground.errors import CounterGroundError, UsageError
from counterground.models import (
    Classifier,
    DualEncoder,
    check_specs,
    expand_specs,
    expected_kind,
    list_models,
    load_model,
)
from counterground.models._weights import check_limits  # without networks of that size
from counterground.models.open_clip import resolve_activation

UNKNOWN = [
    ("efficientnet-lite3", "efficientnet-lite2"),
    ("openclip:ViT-B-32/openai", "open_clip:ViT-B-32/openai"),
    ("open_clip:ViT-B-33/openai", "ViT-B-32"),
    ("open_clip:ViT-B-32/opena", "openai"),
    ("open_clip:ViT-B-32", "open_clip:ViT-B-32/TAG"),
    ("open_clip:ViT-B-3@/nowhere", "no weights file"),
    ("torchvision:resnet5", "resnet50"),
    ("torchvision:resnet50/IMAGENET1K_V3", "IMAGENET1K_V1"),
    ("timm:resnet18.a1_in1", "Did you mean 'a1_in1k'"),
    ("timm:resnet188", "Did you mean 'resnet18'"),
    ("timm:vit_base_patch16_224.dino", "0 outputs"),
    (
        "timm:vit_base_patch32_clip_224.openai",
        "by timm:vit_base_patch32_clip_224.openai?head=knn",
    ),
    ("counterground:stamps-bias", "Did you mean 'counterground:stamps-biased'"),
    ("hf:siglip2-base-patch16-224", "hf:OWNER/NAME"),
    ("hff:google/siglip2-base-patch16-224", "hf:google/siglip2-base-patch16-224"),
    ("onnx:/nowhere.onnx", "there is no file"),
    ("nonsense", "open_clip:ARCH/TAG"),
    ("no_such_module_here:load", "there is no module"),
    ("torchvison:resnet50", "Did you mean torchvision:resnet50?"),
    ("resnet50", "Did you mean torchvision:resnet50/IMAGENET1K_V1 or "),
    ("ViT-B-32", "Did you mean torchvision:vit_b_32/IMAGENET1K_V1 or open_clip:ViT-B-32/openai"),
    ("clip", "Did you mean paper:clip or hf:openai/clip-vit-base-patch32?"),
    ("openai/clip-vit-base-patch32", "Did you mean hf:openai/clip-vit-base-patch32?"),
    ("vit-b32", "Did you mean torchvision:vit_b_32/IMAGENET1K_V1 or open_clip:ViT-B-32/openai"),
    ("somebody/their-clip-1.5", "Did you mean hf:somebody/their-clip-1.5 or hf-hub:somebody/their-clip-1.5?"),
    ("bioclip", "hf-hub:imageomics/bioclip"),
    ("open_clip:bioclip", "hf-hub:imageomics/bioclip"),
    ("open_clip:somebody/their-clip", "hf-hub:somebody/their-clip"),
    ("hf-hub:bioclip", "hf-hub:OWNER/NAME"),
    ("open_clip:hf-hub:a/b/c", "hf-hub:OWNER/NAME"),
    ("speciesnet", "--predictions FILE"),
    ("timm:speciesnet", "--predictions FILE"),
    ("mine/best.pt", "?labels=FILE or open_clip:NAME@mine/best.pt?"),
    ("nope", "Use efficientnet-lite0, "),
    ("mine.py", "Did you mean mine.py:FUNCTION?"),
    ("net.onnx", "Did you mean onnx:net.onnx?"),
    (__file__.removesuffix(".py"), "Use efficientnet-lite0"),
]


@pytest.mark.parametrize(("spec", "suggestion"), UNKNOWN)
def test_an_unknown_model_gets_one_line_with_a_suggestion(spec, suggestion):
    with pytest.raises(UsageError) as loading:
        load_model(spec, device="cpu")
    assert suggestion in str(loading.value)
    assert "\n" not in str(loading.value)
    with pytest.raises(UsageError) as checking:
        check_specs(["efficientnet-lite0", spec])
    assert str(checking.value) == str(loading.value)


def test_outputs_that_timm_does_not_name_can_be_named_or_a_head_be_fitted(tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("\n".join(f"part {number}" for number in range(512)))
    tower = "timm:vit_base_patch32_clip_224.openai"
    check_specs(
        [f"{tower}?head=knn", f"{tower}?labels={names}", "timm:vit_base_patch32_clip_224.openai_ft_in1k"]
    )
    listed = next(model for model in list_models(f"{tower}*") if model.spec == tower)
    assert (listed.kind, "?head=knn" in listed.note) == ("image_encoder", True)


def test_known_models_pass_the_check_without_weights(tmp_path, tiny_clip, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    file = tmp_path / "weights.pth"
    file.write_bytes(b"never read")
    check_specs(
        [
            "paper:clip",
            "paper:imagenet",
            f"open_clip:{tiny_clip}",
            f"open_clip:RN50@{file}",
            f"torchvision:resnet18@{file}",
            "timm:resnet18.a1_in1k",
            f"timm:resnet10t@{file}",
            "counterground:stamps-biased",
            "hf:google/siglip2-base-patch16-224@main",
        ]
    )
    with pytest.raises(UsageError, match="paper:clip"):
        check_specs(["paper:clips"])


def test_the_check_imports_no_torch_for_what_lies_here(tiny_clip):
    specs = ["efficientnet-lite0", "counterground:stamps-biased", f"open_clip:{tiny_clip}", "json:dumps"]
    code = f"import sys, counterground.models as m; m.check_specs({specs!r}); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_device_and_precision_are_checked():
    with pytest.raises(UsageError, match="Unknown precision 'fp8'"):
        load_model("efficientnet-lite0", precision="fp8")
    with pytest.raises(UsageError, match="Unknown precision None"):
        load_model("efficientnet-lite0", precision=None)
    with pytest.raises(UsageError, match="Unknown device 'cuda:²'"):
        load_model("efficientnet-lite0", device="cuda:²")
    assert load_model("counterground:stamps-biased", device=torch.device("cpu")).device == "cpu"


@pytest.mark.parametrize(
    "spec", ["open_clip:ViT-B-32/laion2b_s34b_b79k", "torchvision:resnet50", "timm:resnet18.a1_in1k"]
)
def test_offline_without_a_cache_names_the_spec_and_the_remedy(spec, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(CounterGroundError, match="--offline forbids fetching") as caught:
        load_model(spec, device="cpu", offline=True)
    assert spec in str(caught.value)
    assert "@FILE" in str(caught.value)
    assert not isinstance(caught.value, UsageError)


@pytest.mark.parametrize("spec", ["torchvision:resnet18@", "timm:resnet10t@", "open_clip:RN50@"])
@pytest.mark.parametrize("nested", [False, True])
def test_a_pickle_that_runs_code_is_refused_and_not_run(spec, nested, tmp_path):
    flag = tmp_path / "ran"
    payload = {"state_dict": {"x": torch.zeros(1)}, "evil": Evil(str(flag))} if nested else Evil(str(flag))
    torch.save(payload, tmp_path / "w.pth")
    with pytest.raises(CounterGroundError, match="is refused"):
        load_model(f"{spec}{tmp_path / 'w.pth'}", device="cpu")
    with (tmp_path / "old.pth").open("wb") as file:
        pickle.dump(payload, file)
    with pytest.raises(CounterGroundError):
        load_model(f"{spec}{tmp_path / 'old.pth'}", device="cpu")
    assert not flag.exists()


@pytest.mark.parametrize("content", [b"", b"not weights at all", b"PK\x03\x04broken", b"\x80\x02J"])
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("spec", ["torchvision:resnet18@", "open_clip:RN50@"])
def test_a_broken_file_gives_one_line(content, suffix, spec, tmp_path):
    path = tmp_path / f"w.{suffix}"
    path.write_bytes(content)
    with pytest.raises(CounterGroundError) as caught:
        load_model(f"{spec}{path}", device="cpu")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_papers_sets_expand(monkeypatch, tmp_path):
    clip = expand_specs(["paper:clip"])
    assert len(clip) == 28
    for spec in clip:
        name, _, tag = spec.removeprefix("open_clip:").rpartition("/")
        assert not resolve_activation(name, tag).warnings
    imagenet = expand_specs(["paper:imagenet"])
    assert len(imagenet) == 15
    for spec in imagenet:
        name, _, weights = spec.removeprefix("torchvision:").partition("/")
        assert torchvision.models.get_model_weights(name)[weights].meta["categories"][0] == "tench"
    assert expand_specs(["efficientnet-lite0", *imagenet, imagenet[0]]) == ["efficientnet-lite0", *imagenet]
    assert expand_specs(["paper:lvlm"]) == ["hf:llava-hf/llava-1.5-7b-hf", "minigpt4:MiniGPT-4"]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"no checkout .*git clone \S+ MiniGPT-4"):
        check_specs(["paper:lvlm"])
    with pytest.raises(UsageError, match="paper:clip"):
        expand_specs(["paper:clips"])


def test_listing():
    models = {model.spec: model for model in list_models()}
    assert models["efficientnet-lite0"].parameters == 4_652_008
    assert not models["efficientnet-lite0"].needs_network
    resnet = models["torchvision:resnet50/IMAGENET1K_V1"]
    assert (resnet.parameters, resnet.training_data, resnet.needs_network) == (
        25_557_032,
        "ImageNet-1K",
        True,
    )
    referee = models["open_clip:ViT-B-32/laion400m_e31"]
    assert (referee.parameters, referee.training_data, referee.note) == (
        151_277_313,
        "LAION-400M",
        "QuickGELU",
    )
    assert models["timm:resnet18.a1_in1k"].parameters == 11_689_512
    assert (
        models["timm:vit_base_patch16_224.augreg2_in21k_ft_in1k"].training_data
        == "ImageNet-21K, then ImageNet-1K"
    )
    assert sum(model.parameters is None for model in models.values()) < 20
    assert models["hf:openai/clip-vit-base-patch32"].parameters == 151_277_313
    assert models["hf:microsoft/resnet-50"].parameters == 25_557_032
    assert models["hf:llava-hf/llava-1.5-7b-hf"].kind == "generative"
    check_specs([spec for spec in models if spec.startswith("hf:")])
    for spec, model in models.items():
        if model.kind != "image_encoder":  # weights without a classifier, which timm alone knows
            assert model.kind == (expected_kind(spec) or model.kind)


def test_the_list_is_that_of_the_libraries():
    listed = {model.spec for model in list_models()}
    clips = {
        f"open_clip:{name}/{tag}" for name, tag in open_clip.list_pretrained() if "quickgelu" not in name
    }
    assert clips <= listed
    assert {f"timm:{name}" for name in timm.list_pretrained()} <= listed
    names = torchvision.models.list_models(module=torchvision.models)
    weights = {name: torchvision.models.get_model_weights(name) for name in names}
    assert {f"torchvision:{name}/{each.name}" for name in names for each in weights[name]} <= listed


@pytest.mark.parametrize("pattern", ["vit-b-32", "*ViT-B-32*", "OPEN_CLIP:ViT-B-32/*"])
def test_listing_by_pattern(pattern):
    specs = [model.spec for model in list_models(pattern)]
    assert "open_clip:ViT-B-32/openai" in specs
    assert all("vit-b-32" in spec.lower() for spec in specs)


USER_MODULE = """
import torch
from torchvision.transforms.functional import pil_to_tensor

def small(image):
    return pil_to_tensor(image.resize((8, 8))).float() / 255

class Net(torch.nn.Module):
    def __init__(self, classes):
        super().__init__()
        torch.manual_seed(classes)
        self.last = torch.nn.Linear(3 * 64, classes)
    def forward(self, batch):
        return self.last(batch.flatten(1))

class Clip(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.image, self.text = torch.nn.Linear(192, 5), torch.nn.Embedding(300, 5)
        self.logit_scale = torch.nn.Parameter(torch.tensor(2.0))
    def encode_image(self, batch):
        return self.image(batch.flatten(1))
    def encode_text(self, tokens):
        return self.text(tokens).mean(dim=1)

def tokenizer(texts):
    return torch.tensor([[ord(letter) % 300 for letter in text.ljust(20)[:20]] for text in texts])

def named():
    return Net(3), small, ["ice bear", "great grey owl", "my own cat"]

def doubled():
    return Net(3), small, ["ice bear", "Ursus maritimus", "hen"]

def thousand():
    return Net(1000), small

def clip():
    return Clip(), small, tokenizer

number = 3
"""


@pytest.fixture
def user_module(tmp_path, monkeypatch):
    (tmp_path / "my_models.py").write_text(USER_MODULE)
    monkeypatch.chdir(tmp_path)
    sys.modules.pop("my_models", None)  # another test's
    yield "my_models"
    sys.modules.pop("my_models", None)


@pytest.fixture
def photo():
    return noise((30, 20))


def test_a_users_classifier(user_module, photo):
    model = load_model(f"{user_module}:named", device="cpu")
    assert isinstance(model, Classifier)
    assert model.imagenet_columns == (296, 24, None)
    assert model.class_names[2] == "my own cat"
    assert model.encode(model.preprocess(photo.convert("P"))[None]).shape == (1, 3)
    assert load_model(f"{user_module}:named", device="cpu").fingerprint == model.fingerprint
    assert load_model(f"{user_module}:thousand", device="cpu").imagenet_columns == tuple(range(1000))


def test_a_users_dual_encoder(user_module, photo):
    model = load_model(f"{user_module}:clip", device="cpu")
    assert isinstance(model, DualEncoder)
    texts = model.encode_texts(["a cat", "a dog", "a cat"])
    np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(texts[0], texts[2])
    image = model.encode(model.preprocess(photo)[None])
    assert image.shape == (1, model.dim)
    assert model.logit_scale == pytest.approx(np.exp(2.0))


@pytest.mark.parametrize(
    "spec",
    [
        "torchvision:resnet18@0.pth",
        "torchvision:resnet18@0.pth?head=knn",
        "my_models:named",
        "my_models:clip",
    ],
)
def test_another_precision_or_other_weights_are_another_fingerprint(spec, user_module, tmp_path):
    """Else what fp32 or an earlier epoch has stored would be taken for the features."""
    for seed in range(2):
        torch.manual_seed(seed)
        torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / f"{seed}.pth")
    asked = [(spec, "fp32"), (spec, "bf16"), (spec, "fp16")]
    other = spec.replace("0.pth", "1.pth")
    found = [
        load_model(spec, device="cpu", precision=precision, fitted_head=True).fingerprint
        for spec, precision in dict.fromkeys([*asked, (other, "fp32")])
    ]
    assert len(set(found)) == len(found) >= 3


def test_importing_the_room_loads_no_torch():
    code = "import sys, counterground.models; print({*sys.modules} & {'torch', 'open_clip', 'timm'})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(("name", "members"), [("clip", 28), ("imagenet", 15), ("lvlm", 2)])
def test_the_papers_sets_are_listed_whole(name, members):
    listed = [model.spec for model in list_models(f"paper:{name}")]
    assert len(set(listed)) == len(listed) == members


def test_names_of_classes_are_no_depth():
    check_limits("hf:x", {"label2id": {"depth gauge": 1050}, "id2label": {"1050": "depth gauge"}})
    with pytest.raises(CounterGroundError, match="2000 as num_hidden_layers"):
        check_limits("hf:x", {"vision_config": {"num_hidden_layers": 2000}})


def test_two_names_for_one_class_in_a_users_classifier_match_nothing(user_module):
    model = load_model(f"{user_module}:doubled", device="cpu")
    assert model.imagenet_columns == (None, None, 8)
    assert (
        "2 class names (Ursus maritimus, ice bear) share an ImageNet class"
        in model.description["warnings"][0]
    )
