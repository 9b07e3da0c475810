"""Models in memory: networks with their transforms, functions and ready models, and names for all models."""

import copy
import subprocess
import sys

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

import counterground as cg
from counterground.errors import CounterGroundError, UsageError
from counterground.inference import evaluate_models
from counterground.models import HeadSpec, load_model, named_models
from counterground.photos import read_benchmark
from counterground.results import open_run, repeat_command, select_models
from counterground.settings import Settings

NAMES = ["ice bear", "black swan", "flamingo"]
SEEN = []


class Mean(torch.nn.Module):
    """Tells colours apart; counts the photos it has seen."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.norm = torch.nn.BatchNorm1d(3)
        self.head = torch.nn.Linear(3, 3)

    def forward(self, batch):
        SEEN.append(len(batch))
        return self.head(self.norm(batch.mean((2, 3))))


class TwoTowers(Mean):
    def encode_image(self, batch):
        return self(batch)

    def encode_text(self, tokens):
        return torch.nn.functional.one_hot(tokens[:, 0] % 3, 3).float()


def small(image):
    return torch.from_numpy(np.array(image.resize((4, 4)))).permute(2, 0, 1) / 255


def tokens(texts):
    return torch.tensor([[len(text)] for text in texts])


def make_mean():
    return Mean(), small, NAMES


@pytest.fixture
def evaluate(photos, tmp_path):
    def run(models, out="run", **how):
        settings = Settings(**{"label_space": "benchmark", "batch_size": 8, "device": "cpu", **how})
        return evaluate_models(read_benchmark(photos), models, settings, tmp_path / out)

    SEEN.clear()
    return run


def test_networks_functions_and_ready_models_are_evaluated_under_their_names(evaluate, photos, tiny_clip):
    clip = f"open_clip:{tiny_clip}"
    ready = load_model(clip, device="cpu")
    models = {
        "ours": (Mean(), small, NAMES),
        "two towers": (TwoTowers(), small, tokens),
        "made": lambda: (Mean(1), small, NAMES),
        "imported": make_mean,
        "ready": ready,
        "by spec": clip,
    }
    run = evaluate(models)
    assert run.predictions["model"].unique(maintain_order=True).to_list() == list(models)
    assert run.estimates()["model"].unique(maintain_order=True).to_list() == list(models)
    assert [model.name for model in run.info.models] == list(models)
    assert {model.name: model.spec for model in run.info.models} == {
        "ours": "object:Mean",
        "two towers": "object:TwoTowers",
        "made": "object:lambda",
        "imported": f"{__name__}:make_mean",
        "ready": clip,
        "by spec": clip,
    }
    assert run.info.counts.ties.keys() == models.keys()
    assert [model.name for model in open_run(run.path).info.models] == list(models)
    ours, network = run.predictions.filter(model="ours"), Mean().eval()
    logits = [network(small(Image.open(photos / path))[None])[0] for path in ours["path"]]
    assert ours["predicted_name"].to_list() == [NAMES[int(each.argmax())] for each in logits]
    assert ready.display_name == ready.spec  # a model that was given is not changed


def test_one_model_needs_no_list_and_is_called_by_its_class(evaluate, tiny_clip):
    run = evaluate((Mean(), small, NAMES))
    assert run.predictions["model"].unique().to_list() == ["Mean"]
    two = evaluate([(Mean(), small, NAMES), f"open_clip:{tiny_clip}"], "two")
    for given in (run, run.path, [run, two]):
        assert "| ice bear |" in cg.format_scores(given, "markdown", by_class=True)


def test_an_object_is_answered_from_the_store_until_a_weight_changes(evaluate):
    network = Mean()
    first = evaluate((network, small, NAMES), "a")
    assert sum(SEEN) == 8 + 5 + 48  # the probe; then one photo before the others: alone, and twice in a pair
    again = evaluate({"under a name": (copy.deepcopy(network), small, NAMES)}, "b")
    assert sum(SEEN) == 61 + 8
    assert again.info.models[0].fingerprint == first.info.models[0].fingerprint
    with torch.no_grad():
        network.head.weight[0, 0] += 0.5
    changed = evaluate((network, small, NAMES), "c")
    assert sum(SEEN) == 2 * 61 + 8
    assert changed.info.models[0].fingerprint != first.info.models[0].fingerprint
    with pytest.raises(CounterGroundError, match="holds a run with other weights, code"):
        evaluate((network, small, NAMES), "a")
    assert evaluate((Mean(), small, NAMES), "a").predictions.equals(first.predictions)


class Arithmetic(Mean):
    """Notes how products of float32 are computed while it runs."""

    def forward(self, batch):
        product = torch.eye(3) @ torch.eye(3)
        convolutions = torch.backends.cudnn.allow_tf32  # on CUDA: PyTorch allows them TF32 by itself
        SEEN.append((product.dtype, torch.get_float32_matmul_precision(), convolutions))
        return self.head(batch.mean((2, 3)))

    def encode_image(self, batch):
        return self(batch)

    def encode_text(self, tokens):
        self(torch.zeros(1, 3, 4, 4))
        return torch.nn.functional.one_hot(tokens[:, 0] % 3, 3).float()


@pytest.mark.parametrize("third", [NAMES, tokens], ids=["classifier", "dual encoder"])
def test_what_a_program_sets_for_its_own_networks_changes_no_feature(third, evaluate, monkeypatch, tmp_path):
    def features(cache, out):
        monkeypatch.setenv("COUNTERGROUND_CACHE", str(tmp_path / cache))
        return evaluate((Arithmetic(), small, third), out).predictions

    expected = features("alone", "a")
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", torch.bfloat16):
            inside = features("inside", "b")
            assert (torch.eye(3) @ torch.eye(3)).dtype == torch.bfloat16
        assert torch.get_float32_matmul_precision() == "medium"
        assert torch.backends.cudnn.allow_tf32
    finally:
        torch.set_float32_matmul_precision("highest")
    if third is not NAMES:
        SEEN.remove((torch.float32, "highest", True))  # one text, to learn the width
        SEEN.remove((torch.bfloat16, "medium", True))
    assert set(SEEN) == {(torch.float32, "highest", False)}
    assert inside.equals(expected)


def test_a_network_of_some_classes_is_told_how_to_let_only_those_compete(evaluate):
    said = r"Mean has an output for 3 of ImageNet's 1,000 classes.*--label-space benchmark"
    with pytest.raises(UsageError, match=said):
        evaluate((Mean(), small, NAMES), label_space=None)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_gives_the_same_answers(evaluate):
    network = torch.nn.Sequential(torch.nn.AvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(3, 3))
    given = {"plain": (network, small, NAMES), "script": (torch.jit.script(network), small, NAMES)}
    answers = evaluate(given, label_space="benchmark").predictions
    plain, script = (answers.filter(model=name)["confidence"] for name in given)
    np.testing.assert_allclose(plain, script, atol=1e-6)


def test_a_network_in_training_goes_on_as_if_nothing_had_been(evaluate):
    network = Mean().train()
    network.head.bias.requires_grad_(False)
    network.norm.eval()
    before = copy.deepcopy(network.state_dict())
    evaluate((network, small, NAMES), precision="bf16")
    assert (network.training, network.norm.training, network.head.training) == (True, False, True)
    assert [weights.requires_grad for weights in network.parameters()] == [True, True, True, False]
    assert "forward" not in vars(network.head)
    assert all(torch.equal(now, before[name]) for name, now in network.state_dict().items())
    network(torch.rand(2, 3, 4, 4)).sum().backward()
    assert network.head.weight.grad is not None


class Growing(Mean):
    """Adds a buffer when it is first used, as positions and masks of transformers are."""

    def forward(self, batch):
        if not hasattr(self, "scale"):
            self.register_buffer("scale", torch.ones(1))
        return super().forward(batch) * self.scale


def of_inference_tensors():
    with torch.inference_mode():
        return Mean().eval()


def frozen():
    network = torch.nn.Sequential(torch.nn.AvgPool2d(4), torch.nn.Flatten(), torch.nn.Linear(3, 3))
    return torch.jit.freeze(torch.jit.script(network.eval()))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("make", [Growing, of_inference_tensors, frozen])
def test_an_unusual_network_is_no_error(make, evaluate):
    run = evaluate({"made": lambda: (make(), small, NAMES)}, label_space="benchmark")
    assert run.predictions["confidence"].null_count() == 0


def checkpoints(network):
    """Functions that load three checkpoints into one network, as a training script does."""

    def of(seed):
        def load():
            network.load_state_dict(Mean(seed).state_dict())
            return network, small, NAMES

        return load

    return {f"epoch {seed}": of(seed) for seed in range(3)}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_several_checkpoints_of_one_network_keep_their_own_answers(evaluate, precision):
    apart = {f"epoch {seed}": (Mean(seed), small, NAMES) for seed in range(3)}
    expected = evaluate(apart, "apart", precision=precision).predictions
    assert expected["confidence"].n_unique() > 100
    given = checkpoints(Mean())
    another = {"another": (Mean(7), small, NAMES)}
    together = evaluate({**given, **another}, "together", precision=precision)
    assert together.predictions.filter(pl.col("model") != "another").equals(expected)
    first = evaluate({"epoch 0": given["epoch 0"]}, "afterwards", precision=precision)
    assert first.predictions.equals(expected.filter(model="epoch 0"))
    assert first.info.models[0].fingerprint == together.info.models[0].fingerprint


@pytest.mark.parametrize("classifier_first", [True, False])
def test_a_network_that_a_classifier_shares_gives_a_head_its_own_features(
    evaluate, tmp_path, monkeypatch, classifier_first
):
    """The last layer of a classifier runs in float32; that of the same network as an encoder does not."""
    network = Mean()
    head = {"head": (network, small, HeadSpec("knn", np.int64(1)))}
    alone = evaluate(head, "alone", precision="bf16")
    monkeypatch.setenv("COUNTERGROUND_CACHE", str(tmp_path / "cache of both"))
    classifier = {"classifier": (network, small, NAMES)}
    both = {**classifier, **head} if classifier_first else {**head, **classifier}
    together = evaluate(both, "together", precision="bf16")
    assert together.predictions.filter(model="head").equals(alone.predictions)
    assert set(alone.info.models[0].description["head"]["k"]) == {1}


SHIFT = {"by": 0.0}


def shifted(image):
    return small(image) + SHIFT["by"]


def shifting(by):
    """A function that sets what the shared preprocessing reads, as a script with several settings does."""

    def load():
        if by is not None:
            SHIFT["by"] = by
        return Mean(), shifted, NAMES

    return load


def test_functions_that_set_what_a_shared_preprocessing_reads_keep_their_own_answers(evaluate):
    given = {"dark": shifting(-0.9), "light": shifting(0.9), "black": shifting(-2.0)}
    together = evaluate(given, "together").predictions
    for name, function in given.items():
        alone = evaluate({name: function}, name).predictions
        assert alone.equals(together.filter(model=name))
    assert together.group_by("model").agg(pl.col("confidence").mean())["confidence"].n_unique() == 3


KEPT = Mean(5)


def kept():
    return KEPT, small, NAMES


def test_a_network_keeps_its_last_layer_when_a_head_takes_its_place(evaluate):
    spec = f"{__name__}:kept"
    expected = evaluate({"own": (Mean(5), small, NAMES)}, "apart").predictions
    together = evaluate({"own": spec, "fitted": f"{spec}?head=prototypes"}, "together").predictions
    assert together.filter(model="own").equals(expected)
    assert not together.filter(model="fitted")["predicted_index"].equals(expected["predicted_index"])
    assert isinstance(KEPT.head, torch.nn.Linear)


def headed():
    return Mean(1), small, HeadSpec("prototypes")


def test_a_network_without_a_head_of_its_own_chooses_no_names(evaluate):
    with pytest.raises(UsageError, match="headed: confusable names are chosen by a model's own head"):
        evaluate("efficientnet-lite0", label_space="confusable", referee=f"{__name__}:headed")


CELL = """
import torch, numpy as np

seen = []
by = 255

class Net(torch.nn.Module):
    scale = 1.0
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.head = torch.nn.Linear(3, 3)
    def forward(self, batch):
        return self.head(batch.mean((2, 3))) * self.scale

def halve(pixels):
    return pixels / by

def small(image):
    seen.append(image)
    return halve(torch.from_numpy(np.array(image.resize((4, 4)))).permute(2, 0, 1))

model = (Net(), small, ["ice bear", "black swan", "flamingo"])
"""
PROGRAM = """
import sys, pathlib
from counterground.inference import evaluate_models
from counterground.settings import Settings
from counterground.photos import read_benchmark

settings = Settings(label_space="benchmark", batch_size=8, device="cpu")
run = evaluate_models(read_benchmark(sys.argv[1]), model, settings, pathlib.Path(sys.argv[2]))
print(len(seen), run.info.models[0].fingerprint)
"""


def test_code_without_a_file_and_its_weights_are_known_in_every_process(photos, tmp_path, evaluate):
    """Cells of a notebook are such code."""

    def run(out, old="", new=""):
        cell = {"__name__": "a cell"}
        exec(CELL.replace(old, new), cell)
        done = evaluate(cell["model"], out)
        assert not any("source" in warning for warning in done.info.all_warnings)
        return len(cell["seen"]), done.info.models[0].fingerprint

    first = run("a")
    assert first[0] == 8 + 61
    command = [
        sys.executable,
        "-c",
        CELL.replace("seen = []", "seen = list()") + PROGRAM,
        photos,
        tmp_path / "a",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["8", first[1]]  # into the same folder: it is the same run
    edits = [("= 255", "= 127"), ("scale = 1.0", "scale = 2.0"), ("pixels / by", "pixels / -by")]
    changed = [run(f"other {old}".replace("/", ""), old, new) for old, new in edits]
    assert [count for count, _ in changed] == [69, 69, 69]
    assert len({first[1], *(fingerprint for _, fingerprint in changed)}) == 4


@pytest.mark.parametrize(
    ("models", "message"),
    [
        (Mean(), "Mean object is not a model"),
        ((Mean(), NAMES, small), "tuple object is not a model"),
        (7, "7 is not a model. A model is a specification"),
        (lambda image: image, r"cannot be called without arguments \(missing a required argument: 'image'\)"),
        ((Mean(), small, 5), "class_names"),
        ({"": "efficientnet-lite0"}, "'' cannot be the name of a model: use letters, digits"),
        ({"a": "paper:clip"}, "'a' must be the name of one model"),
        (["a=efficientnet-lite0", "a=efficientnet-lite1"], "Two models are called 'a' .*-lite0 and .*-lite1"),
        ("object:Mean", "was an object of a Python program: run that program again"),
        ([], "No model was named"),
    ],
)
def test_anything_else_is_refused_in_one_line(models, message, evaluate):
    with pytest.raises(UsageError, match=message) as refused:
        evaluate(models)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "name", "spec"),
    [
        ("mine=torchvision:resnet18@a=b.pth", "mine", "torchvision:resnet18@a=b.pth"),
        (" a model-1.0_b = efficientnet-lite0", "a model-1.0_b", "efficientnet-lite0"),
        ("hf:google/vit?labels=imagenet", None, "hf:google/vit?labels=imagenet"),
        ("http://127.0.0.1:8901/v1#stub?jobs=8", None, None),
        ("stub=http://127.0.0.1:8901/v1#stub?jobs=8", "stub", None),
        ("timm:resnet10t@run=1/best.pth", None, "timm:resnet10t@run=1/best.pth"),
        ("efficientnet-lite0", None, "efficientnet-lite0"),
    ],
)
def test_only_what_is_before_the_first_sign_of_a_specification_is_a_name(given, name, spec):
    (found,) = named_models([given, given])
    assert found.spec == (spec or given.removeprefix("stub="))
    assert found.name == (name or found.spec)


def test_a_name_goes_wherever_the_model_goes_and_its_specification_repeats_the_run(evaluate, tiny_clip):
    clip = f"open_clip:{tiny_clip}"
    run = evaluate([f"small clip={clip}", (Mean(), small, NAMES)])
    assert evaluate([f"small clip={clip}", (Mean(), small, NAMES)]).predictions.equals(run.predictions)
    with pytest.raises(CounterGroundError, match="holds another run"):
        evaluate([f"another name={clip}", (Mean(), small, NAMES)])
    assert f"-m 'small clip={clip}' -m Mean=MODULE:FUNCTION" in repeat_command(run)
    for model in ("small clip", clip):  # options take either
        assert select_models({run.path: run}, [model])[run.path].estimates()["model"].unique().to_list() == [
            "small clip"
        ]
        assert set(cg.compare(run, against=model).tests["versus"]) == {"small clip"}
    assert set(cg.compare(run).models["label"]) == {"small clip", "Mean"}
    page = cg.report(run, run.path / "page.html", photos=False).read_text()
    assert page.count("small clip") > 5
    assert page.count(clip) == 2  # in the command, and as the specification
    assert "MODULE:FUNCTION stands for a function that returns the model" in page
