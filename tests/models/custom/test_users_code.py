"""Models of the user's own: what enters the fingerprint, and what is said when they are not as requested."""

import importlib
import json
import sys
from concurrent.futures import ThreadPoolExecutor

import forked
import pytest
import torchvision.transforms as T
from PIL import Image

from counterground.errors import CounterGroundError, UsageError
from counterground.models import check_specs, load_model, named_models

MODULE = """
import functools
import sys

import torch
import torchvision.transforms as T
from torchvision.transforms.functional import pil_to_tensor

import my_settings
import third_party
from my_settings import SIDE

def small(image):
    return pil_to_tensor(image.resize((SIDE, SIDE))).float() / 255

def scaled(image, by):
    return small(image) * by

class Scaler:
    def __init__(self, by):
        self.by = by
    def __call__(self, image):
        return small(image) * self.by

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.last = torch.nn.Linear(192, 3)
    def forward(self, batch):
        return self.last(batch.flatten(1)) * 1

class Clip(Net):
    def encode_image(self, batch):
        return self(batch)
    def encode_text(self, tokens):
        return tokens.float()

def tokenizer(texts):
    return torch.tensor([[len(text), 1, 2] for text in texts])

NAMES = ["ice bear", "great grey owl", "hen"]

def with_function():
    return Net(), small, NAMES

def with_lambda():
    return Net(), T.Compose([T.Resize((8, 8)), T.ToTensor(), T.Lambda(lambda pixels: pixels * 2)]), NAMES

def with_object():
    return Net(), Scaler(my_settings.by()), NAMES

def with_partial():
    return Net(), functools.partial(scaled, by=my_settings.by()), NAMES

def with_closure():
    by = my_settings.by()
    return Net(), lambda image: small(image) * by, NAMES

def with_list():
    return Net(), third_party.made_elsewhere(), NAMES

def with_hook():
    network = Net()
    network.last.register_forward_hook(lambda layer, inputs, output: output + 1)
    return network, small, NAMES

def clip():
    return Clip(), small, tokenizer

def leaving():
    sys.exit(3)

def ready():
    from counterground.models import load_model
    return load_model("my_models:with_function", device="cpu")

"""
SETTINGS = """
import os

SIDE = 8

def by():
    return float(os.environ.get("BY", "1"))
"""
# Found through the object alone: no module the user wrote imports my_steps by name.
THIRD_PARTY = """
import importlib

def made_elsewhere():
    return importlib.import_module("my_steps").Steps([2.0])
"""
STEPS = """
import my_settings

class Steps(list):
    def __call__(self, image):
        from torchvision.transforms.functional import pil_to_tensor
        return pil_to_tensor(image.resize((8, 8))).float() * self[0]
"""
FUNCTIONS = [
    "with_function",
    "with_lambda",
    "with_object",
    "with_partial",
    "with_closure",
    "with_hook",
    "clip",
]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    # A cached compilation would hide an edit of the same length within the same second.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_models.py").write_text(MODULE)
    (tmp_path / "my_settings.py").write_text(SETTINGS)
    (tmp_path / "third_party.py").write_text(THIRD_PARTY)
    (tmp_path / "my_steps.py").write_text(STEPS)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    forget()


def forget():
    for name in ("my_models", "my_settings", "my_steps", "third_party"):
        sys.modules.pop(name, None)


def load_afresh(function, **options):
    forget()
    return load_model(f"my_models:{function}", device="cpu", **options)


@pytest.mark.parametrize(
    ("function", "file", "old", "new"),
    [
        ("with_function", "my_models.py", ".float() / 255", ".float() / 127"),
        ("with_lambda", "my_models.py", "pixels * 2", "pixels * 3"),
        ("with_object", "my_models.py", "* self.by", "+ self.by"),
        ("with_function", "my_models.py", "flatten(1)) * 1", "flatten(1)) * 2"),
        ("with_function", "my_settings.py", "SIDE = 8", "SIDE = 9"),
        ("with_list", "my_steps.py", "* self[0]", "+ self[0]"),
        ("clip", "my_models.py", "flatten(1)) * 1", "flatten(1)) + 2"),
        ("clip", "my_models.py", ".float() / 255", ".float() / 127"),
        ("clip", "my_models.py", "[len(text), 1, 2]", "[len(text), 1, 3]"),
    ],
)
def test_an_edit_changes_the_fingerprint(function, file, old, new, folder):
    before = load_afresh(function)
    assert load_afresh(function).fingerprint == before.fingerprint
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))
    after = load_afresh(function)
    assert after.fingerprint != before.fingerprint


@pytest.mark.parametrize("function", ["with_object", "with_partial", "with_closure"])
def test_a_setting_of_the_preprocessing_changes_the_fingerprint(function, folder, monkeypatch):
    before = load_afresh(function).fingerprint
    monkeypatch.setenv("BY", "2")
    assert load_afresh(function).fingerprint != before


def fingerprints_elsewhere(functions):
    code = (
        "from counterground.models import load_model\n"
        f"for name in {functions!r}:\n"
        "    model = load_model(f'my_models:{name}', device='cpu')\n"
        "    print(model.fingerprint)\n"
    )
    done = forked.run(code)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


SWEEP = """
import my_settings
from my_models import small

class Config:
    by = 1

BY = 1

def number(image):
    return small(image) * BY

def class_attribute(image):
    return small(image) * Config.by

def module_attribute(image):
    return small(image) * my_settings.SIDE

def closing(by):
    return lambda image: small(image) * by
"""


@pytest.fixture
def sweep(folder):
    (folder / "my_sweep.py").write_text(SWEEP)
    yield importlib.import_module("my_sweep")
    sys.modules.pop("my_sweep")


def fingerprint(preprocess, network=None):
    models = sys.modules.get("my_models")
    given = (network or models.Net(), preprocess, ["ice bear", "great grey owl", "hen"])
    return load_model(named_models(given)[0], device="cpu").fingerprint


@pytest.mark.parametrize(
    ("function", "place"),
    [
        ("number", ""),
        ("class_attribute", "Config"),
        ("module_attribute", "my_settings"),
    ],
)
def test_what_a_program_sets_changes_the_fingerprint(function, place, sweep, monkeypatch):
    preprocess, changed = getattr(sweep, function), getattr(sweep, place) if place else sweep
    name = {"": "BY", "my_settings": "SIDE"}.get(place, "by")
    before = fingerprint(preprocess)
    assert fingerprint(preprocess) == before
    monkeypatch.setattr(changed, name, 4)
    assert fingerprint(preprocess) != before


def test_what_a_function_closes_over_changes_the_fingerprint(sweep):
    assert fingerprint(sweep.closing(1)) == fingerprint(sweep.closing(1)) != fingerprint(sweep.closing(2))


def test_another_process_finds_the_features_again(folder):
    first, second = (fingerprints_elsewhere(FUNCTIONS) for _ in range(2))
    assert first == second
    assert len(set(first)) > 1


def test_reprs_hold_no_memory_address(folder):
    assert " at 0x" not in str(load_afresh("with_lambda").description)
    assert " at 0x" not in str(load_afresh("clip").description)
    assert " at 0x" in repr(T.Compose([test_reprs_hold_no_memory_address]))


def test_a_function_that_ends_the_program_gets_one_line(folder):
    with pytest.raises(
        CounterGroundError, match=r"my_models:leaving failed: SystemExit: 3 \(my_models\.py, line"
    ):
        load_afresh("leaving")
    (folder / "my_models.py").write_text("raise SystemExit('usage: my_models')")
    forget()
    for act in (load_model, lambda spec: check_specs([spec])):
        with pytest.raises(CounterGroundError, match=r"importing my_models failed: SystemExit.*__main__"):
            act("my_models:leaving")


def test_a_ready_model_that_is_not_as_asked_says_so(folder):
    assert not any("ready model" in line for line in load_afresh("ready").description["warnings"])
    model = load_afresh("ready", precision="bf16")
    assert model.dtype == "fp32"
    text = " ".join(model.description["warnings"])
    assert "precision is fp32, not bf16" in text


def test_a_file_is_loaded_as_a_module_is(folder, tmp_path, monkeypatch):
    module = load_afresh("with_function")
    forget()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(folder)])
    spec = "../my_models.py:with_function"
    check_specs([spec])
    model = load_model(spec, device="cpu")
    assert model.fingerprint == module.fingerprint
    assert load_model(f"{folder}/my_models.py:with_function", device="cpu").fingerprint == model.fingerprint
    assert str(folder) not in sys.path
    edited = (folder / "my_settings.py").read_text().replace("SIDE = 8", "SIDE = 9")
    (folder / "my_settings.py").write_text(edited)
    forget()
    assert load_model(spec, device="cpu").fingerprint != model.fingerprint


def test_a_file_that_is_edited_meanwhile_is_imported_again(own_modules, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "model_a.py").write_text(MODULE.replace("import third_party\n", ""))
    (tmp_path / "my_settings.py").write_text(SETTINGS)
    spec = f"{tmp_path}/model_a.py:with_function"
    before = load_model(spec, device="cpu")
    assert load_model(spec, device="cpu").fingerprint == before.fingerprint
    (tmp_path / "my_settings.py").write_text(SETTINGS.replace("SIDE = 8", "SIDE = 4"))
    after = load_model(spec, device="cpu")
    assert after.preprocess(Image.new("RGB", (8, 8))).shape == (3, 4, 4)
    assert after.fingerprint != before.fingerprint


def test_two_files_of_one_name_are_two_models(own_modules, tmp_path):
    text = MODULE.replace("import my_settings\n", "").replace("import third_party\n", "")
    text = text.replace("from my_settings import SIDE", "SIDE = 8")
    for name, by in (("one", "255"), ("two", "127")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "json.py").write_text(text.replace("/ 255", f"/ {by}"))
    specs = [f"{tmp_path / name / 'json.py'}:with_function" for name in ("one", "two")]
    photo = Image.new("RGB", (8, 8), "white")
    brightest = [load_model(spec, device="cpu").preprocess(photo).max().item() for spec in specs]
    assert brightest == pytest.approx([1, 255 / 127])
    assert sys.modules["json"].__file__ == json.__file__


def test_modules_of_two_folders_are_never_mixed_up(own_modules, tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "my_net.py").write_text(f"def load():\n    raise ValueError('from {name}')")
        text = "def load():\n    import my_net\n    my_net.load()"
        (tmp_path / name / f"using_{name}.py").write_text(text)
    for name in ("one", "two", "one"):
        monkeypatch.chdir(tmp_path / name)
        for spec in (f"{tmp_path}/{name}/using_{name}.py:load", f"using_{name}:load", "my_net:load"):
            check_specs([spec])
            with pytest.raises(CounterGroundError, match=f"from {name}"):
                load_model(spec, device="cpu")


def test_threads_load_one_after_the_other(own_modules, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_slow.py").write_text(
        "import time\n\nNOW, AT_ONCE = [], []\n\ndef load():\n    NOW.append(1)\n"
        "    AT_ONCE.append(len(NOW))\n    time.sleep(0.05)\n    NOW.pop()\n"
    )

    def load(_):
        with pytest.raises(UsageError, match="returned NoneType"):
            load_model("my_slow:load", device="cpu")

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(load, range(3)))
    assert sys.modules["my_slow"].AT_ONCE == [1, 1, 1]


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("mine.py", None, "there is no file"),
        ("mine.py", "def load():\n    return 1 +", r"importing .*failed: SyntaxError: .*mine\.py, line 2"),
        ("mine.py", "import no_such_library", r"No module named 'no_such_library' \(mine\.py, line 1\)"),
        ("mine.py", "\n1 / 0", r"ZeroDivisionError: division by zero \(mine\.py, line 2\)"),
        ("mine.py", "def load():\n    return {}['x']", r"failed: KeyError: 'x' \(mine\.py, line 2\)"),
        ("mine.py", "lod = print", r"mine\.py has no 'load'\. Did you mean 'lod'"),
        ("mine.py", "load = 3", "'load' is not a function"),
    ],
)
def test_a_mistake_in_a_file_is_named_with_its_line(file, content, said, own_modules, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / file).write_text(content)
    with pytest.raises(CounterGroundError, match=said) as caught:
        load_model(f"{file}:load", device="cpu")
    assert "\n" not in str(caught.value)


def test_a_mistake_in_a_network_is_named_with_its_line(own_modules, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "import torch\n\nclass Net(torch.nn.Linear):\n"
        "    def state_dict(self):\n        raise ValueError('lost')\n\n"
        "def load():\n    return Net(2, 2), print, ['a', 'b']\n"
    )
    said = r"^mine\.py:load .*lost \(mine\.py, line 5\)"
    with pytest.raises(CounterGroundError, match=said):
        load_model("mine.py:load", device="cpu")


@pytest.mark.parametrize("names", [["hen", "hen", "cat"], ["my cat", "my dog", "my cat"]])
def test_a_name_of_two_outputs_is_refused(names, folder):
    text = (folder / "my_models.py").read_text()
    (folder / "my_models.py").write_text(text.replace('["ice bear", "great grey owl", "hen"]', repr(names)))
    with pytest.raises(UsageError, match=r"class_names calls two outputs '(hen|my cat)'"):
        load_afresh("with_function")


@pytest.mark.parametrize(
    "names", ['{"ice bear", "hen", "my cat"}', 'frozenset(["ice bear", "hen", "my cat"])']
)
def test_names_without_an_order_are_refused(names, folder):
    text = (folder / "my_models.py").read_text()
    (folder / "my_models.py").write_text(text.replace('["ice bear", "great grey owl", "hen"]', names))
    with pytest.raises(UsageError, match="class_names must be a list of texts, one for each logit in order"):
        load_afresh("with_function")
