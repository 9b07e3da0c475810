"""Families of models in other packages: real distributions on the path, found by their entry points."""

import json
import subprocess
import sys

import forked
import polars as pl
import pytest
from other_package import install

from counterground.errors import CounterGroundError, UsageError
from counterground.inference import evaluate_models
from counterground.models import check_specs, expected_kind, list_models, load_model
from counterground.photos import read_benchmark
from counterground.settings import Settings

# What another package needs in all: a module and an entry point.
TINY = """
import numpy as np
import torch

from counterground.errors import UsageError
from counterground.models import Family, ModelInfo, wrap_model

NAMES = ["ice bear", "black swan", "flamingo"]

def resolve(spec):
    if spec != "tiny:colours":
        raise UsageError(f"{spec}: there is tiny:colours only.")

def preprocess(image):
    return torch.from_numpy(np.array(image.resize((8, 8)))).permute(2, 0, 1).float() / 255

def build():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 3)), preprocess, NAMES

FAMILY = Family(
    prefix="tiny",
    usage="tiny:colours",
    resolve=resolve,
    load=lambda spec, options: wrap_model(spec, build(), options),
    kind=lambda spec: "classifier",
    list=lambda: [ModelInfo("tiny:colours", "classifier", 579, None, needs_network=False)],
)
"""


def install_family(site, package, prefix, value, code):
    install(site, package, code, {"counterground.models": {prefix: value}})


def run(*arguments):
    command = [sys.executable, "-m", "counterground", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_family_of_another_package_is_evaluated_listed_and_cited(site, photos, tmp_path):
    install_family(site, "tiny_models", "tiny", "tiny_models:FAMILY", TINY)
    out = tmp_path / "run"
    done = forked.command(
        "evaluate",
        photos,
        "-m",
        "tiny:colours",
        "--label-space",
        "benchmark",
        "--device",
        "cpu",
        "--out",
        out,
    )
    assert done.returncode == 0, done.stderr
    predictions = pl.read_parquet(out / "predictions.parquet")
    assert len(predictions) == 48
    assert set(predictions["model"]) == {"tiny:colours"}
    assert set(predictions["predicted_name"]) <= {"ice bear", "black swan", "flamingo"}
    listed = forked.command("models", "tiny:*", "--format", "json")
    assert [model["spec"] for model in json.loads(listed.stdout)] == ["tiny:colours"]
    assert expected_kind("tiny:colours") == "classifier"


TALKING = """
from counterground.models import Classifier, Family, Generative

class Talking(Generative):
    def generate(self, image, question, *, max_new_tokens):
        return "a flamingo"

class Known(Talking):
    fingerprint = "9f86d081"

class Bare(Classifier):
    device, dtype, dim, class_names, imagenet_columns = "cpu", "fp32", 1, ("ox",), (345,)
    def preprocess(self, image): ...
    def encode(self, batch): ...

ONE = Talking()  # the same object whenever it is loaded
FAMILY = Family(
    prefix="talk",
    usage="talk:KIND",
    resolve=lambda spec: None,
    load=lambda spec, options: {"talk:one": ONE, "talk:known": Known()}.get(spec) or Bare(),
    kind=lambda spec: "classifier" if spec == "talk:bare" else "generative",
)
"""


def test_a_family_gives_generative_models_that_only_generate(site, photos, tmp_path):
    install_family(site, "talking", "talk", "talking:FAMILY", TALKING)
    settings = Settings(label_space="benchmark", device="cpu", protocol="free-form")
    done = evaluate_models(read_benchmark(photos), ["talk:one"], settings, tmp_path / "run")
    assert done.predictions["correct"].mean() == pytest.approx(1 / 3)
    # What it has answered so far is stored so.
    assert load_model("talk:known").fingerprint == load_model("talk:known").fingerprint
    assert load_model("talk:one").fingerprint != load_model("talk:one").fingerprint
    with pytest.raises(UsageError, match="talk:bare: a Classifier must set fingerprint"):
        load_model("talk:bare")


BROKEN = [
    ("broken:FAMILY", "raise SystemExit(3)", r"SystemExit: 3 .*broken\.py, line 1"),
    ("broken:NAMES", TINY, "not a Family of that name"),
    ("broken:FAMILY", TINY, "of that name"),  # it says tiny, its entry point bad
]


@pytest.mark.parametrize(("value", "code", "reason"), BROKEN)
def test_a_broken_package_is_named_and_breaks_no_other(value, code, reason, site):
    install_family(site, "broken", "bad", value, code)
    install_family(site, "tiny_models", "tiny", "tiny_models:FAMILY", TINY)
    check_specs(["tiny:colours", "efficientnet-lite0"])
    with pytest.raises(CounterGroundError, match=rf"^The package broken cannot .*'bad'.*{reason}") as caught:
        check_specs(["bad:x"])
    assert "\n" not in str(caught.value)
    told = []
    specs = [model.spec for model in list_models(warn=told.append)]
    assert told == [str(caught.value)]
    assert {"tiny:colours", "efficientnet-lite0"} <= set(specs)


def test_a_failure_inside_a_package_names_it(site):
    code = TINY.replace("torch.manual_seed(0)", "raise KeyError('lost')")
    install_family(site, "tiny_models", "tiny", "tiny_models:FAMILY", code)
    wrong = TINY.replace("wrap_model(spec, build(), options)", "build()")
    install_family(site, "wrong_models", "wrong", "wrong_models:FAMILY", wrong.replace('"tiny', '"wrong'))
    reason = r"^tiny:colours: the package tiny_models failed: KeyError: 'lost' \(.*tiny_models\.py, line 18\)"
    with pytest.raises(CounterGroundError, match=reason):
        load_model("tiny:colours", device="cpu")
    with pytest.raises(CounterGroundError, match="family returned tuple"):
        load_model("wrong:colours", device="cpu")


@pytest.mark.parametrize("prefix", ["tiny", "timm", "https"])
def test_a_prefix_that_is_taken_is_refused(prefix, site):
    install_family(site, "tiny_models", "tiny", "tiny_models:FAMILY", TINY)
    install_family(site, "second", prefix, "second:FAMILY", TINY)
    owner = "second, tiny_models" if prefix == "tiny" else "counterground, second"
    with pytest.raises(
        UsageError, match=f"{prefix!r} is claimed by several packages \\({owner}\\)"
    ) as caught:
        check_specs([f"{prefix}://colours#x"])
    assert "\n" not in str(caught.value)
    check_specs(["efficientnet-lite0"])


def test_a_package_is_imported_only_when_its_models_are_named(site):
    install_family(site, "tiny_models", "tiny", "tiny_models:FAMILY", f"print('imported')\n{TINY}")
    code = "import sys, counterground.models as m; m.check_specs(['efficientnet-lite0', 'json:dumps'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""


def test_listing_models_imports_no_library():
    code = (
        "import sys, counterground.models as m; m.list_models(); m.list_models('paper:clip');"
        "print({*sys.modules} & {'torch', 'open_clip', 'timm', 'torchvision', 'transformers'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
