"""Help as a stranger reads it: whole sentences on 80 columns, and examples that run as they stand."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys

import click
import pytest
from noise_photos import ANIMALS
from PIL import Image

import counterground as cg
from counterground.cli import counterground, main
from counterground.decision import STATUS
from counterground.photos import read_benchmark


def commands(group: click.Group = counterground, path: str = "") -> dict[str, click.Command]:
    """All commands by their words, those of groups too."""
    found = {}
    for name in group.list_commands(click.Context(group)):
        command = found[f"{path}{name}"] = group.find(name)
        if isinstance(command, click.Group):
            found |= commands(command, f"{path}{name} ")
    return found


def shown(capsys, *words: str) -> str:
    assert main([*words, "--help"]) == 0
    return capsys.readouterr().out


def examples(page: str) -> list[str]:
    lines = page.partition("\nExamples:\n")[2].replace("\\\n", "").splitlines()
    return [" ".join(line.split()) for line in lines]


def all_examples() -> list[str]:
    pages = []
    for words, command in commands().items():
        context = click.Context(command, info_name=f"counterground {words}", max_content_width=80)
        pages.append(command.get_help(context))
    return list(dict.fromkeys(line for page in pages for line in examples(page)))


def test_help_loads_nothing_heavy():
    code = (
        "import sys, counterground, counterground.cli as c\n"
        "heavy = 'torch transformers open_clip timm polars scipy jinja2'.split()\n"
        "try: c.main(['--help'])\n"
        "finally: print([m for m in heavy if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip().splitlines()[-1] == "[]"


# Options that mean the same in every command that has them.


# Examples that are only parsed here, by how they begin, and why.
PARSED = {
    "counterground benchmarks get": "fetches Debian packages or an archive of some gigabytes",
    "counterground data collect": "asks iNaturalist; tests/construction/collection has a server like it",
    "counterground data import 'hf:": "loads a data set from a hub",
    "counterground data import urls.csv": "downloads; tests/construction/imports has a server",
    "counterground data masks my-photos --from rembg": "fetches weights",
    "counterground data label": "serves a page until Ctrl-C; tests/construction/annotate opens it",
    "counterground paper study": "trains for minutes, or needs MNIST or COCO; tests/paper/study runs parts",
}
# What examples name that is far away or large, and what the test puts in its place.
STAND_INS = {
    "stamps": ["my-photos"],
    "efficientnet-lite0": ["colour_model:thousand"],
    "hf:google/siglip2-base-patch16-224": ["colour_model:thousand"],
    "hf:llava-hf/llava-1.5-7b-hf": ["my_lvlm:MyLvlm"],
    "runs/both": ["runs/both", "--label-space", "benchmark"],
}
LVLM = """
from counterground.models import Generative

class MyLvlm(Generative):
    def generate(self, image, question, *, max_new_tokens):
        return "A flamingo."
    def losses(self, image, questions, answers):
        return [float(len(answer)) for answer in answers], [1] * len(answers)
"""
EXAMPLES = all_examples()


CLIPS = ("open_clip:ViT-B-32/laion2b_s34b_b79k", "counterground:stamps-biased")


def words_of(example: str, tiny_clip) -> list[str]:
    stand_ins = STAND_INS | {name: [f"open_clip:{tiny_clip}"] for name in CLIPS}
    return [word for given in shlex.split(example)[1:] for word in stand_ins.get(given, [given])]


def _write_masks(root):
    """Write a mask for each photo, and the same as annotations."""
    mask = Image.new("L", (16, 16))
    mask.paste(255, (4, 4, 12, 12))
    images, annotations = [], []
    for number, photo in enumerate(sorted((root / "my-photos").rglob("*.png"))):
        name = photo.relative_to(root / "my-photos")
        (root / "my-masks" / name).parent.mkdir(parents=True, exist_ok=True)
        mask.save(root / "my-masks" / name)
        images.append({"id": number, "file_name": name.as_posix(), "width": 16, "height": 16})
        category = sorted(ANIMALS).index(name.parts[0])
        outline = {"segmentation": [[4, 4, 12, 4, 12, 12, 4, 12]], "bbox": [4, 4, 8, 8], "iscrowd": 0}
        annotations.append({"id": number, "image_id": number, "category_id": category, **outline})
    categories = [{"id": number, "name": name} for number, name in enumerate(sorted(ANIMALS))]
    content = {"images": images, "annotations": annotations, "categories": categories}
    for name in ("annotations.json", "boxes.json"):
        (root / name).write_text(json.dumps(content))


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, tiny_clip):
    """A folder with what examples name: photos of one colour each, runs, pairs, a pool."""
    root = tmp_path_factory.mktemp("workplace")
    right = {"black swan": 0, "flamingo": 1, "ice bear": 2}  # the channel that colour_model expects
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("COUNTERGROUND_CACHE", str(root / "cache"))
        for animal, backgrounds in ANIMALS.items():
            for group, background in zip(("common", "counter"), backgrounds, strict=True):
                for number in range(8):
                    colour = [10 + number, 20, 30]
                    wrong = group == "counter" and number > 0
                    colour[(right[animal] + wrong) % 3] = 200 + number
                    for folder in ("my-photos", "photos"):
                        path = root / folder / animal / f"{group}-{background}" / f"{number}.png"
                        path.parent.mkdir(parents=True, exist_ok=True)
                        Image.new("RGB", (16, 16), tuple(colour)).save(path)
        shutil.copytree(root / "my-photos/flamingo/common-water", root / "zebras")
        _write_masks(root)
        for name, column in (("labels.csv", "class_name"), ("predictions.csv", "prediction")):
            (root / name).write_text(f"path,{column}\na/1.jpg,flamingo\na/2.jpg,ice bear\n")
        (root / "my_lvlm.py").write_text(LVLM)
        cg.evaluate("my-photos", "colour_model:thousand", out="runs/first", report=False)
        biased = cg.evaluate("my-photos", "counterground:stamps-biased", out="runs/biased", report=False)
        cg.share(biased, "board/first")
        for run in ("a", "b"):
            shutil.copytree(root / "runs/first", root / "runs" / run)
        assert main(["data", "import", "photos", "-o", "my-pool", "-q"]) == 0
        cg.discover("my-photos", "colour_model:thousand", out="pairs", write_anyway=True)
        cg.evaluate("pairs", "colour_model:thousand", out="runs/pairs", report=False)
        cg.swap(
            "my-photos",
            "colour_model:thousand",
            masks="my-masks",
            out="runs/swapped",
            report=False,
            foregrounds=6,
        )
    yield root
    sys.modules.pop("my_lvlm", None)


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES)
def test_the_example_runs(example, workplace, tiny_clip, monkeypatch, tmp_path, capsys):
    words = words_of(example, tiny_clip)
    if any(example.startswith(start) for start in PARSED):
        command, arguments = counterground, words
        while isinstance(command, click.Group):
            command, arguments = command.find(arguments[0]), arguments[1:]
        command.make_context(words[0], arguments)  # exits or raises if it cannot be parsed
        return
    for entry in workplace.iterdir():  # what an example writes, the next one does not find
        (tmp_path / entry.name).symlink_to(entry)
    (tmp_path / "runs").unlink()
    shutil.copytree(workplace / "runs", tmp_path / "runs")
    for made in ("pairs", "my-pool", "board"):
        (tmp_path / made).unlink()
        shutil.copytree(workplace / made, tmp_path / made)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("COUNTERGROUND_CACHE", str(workplace / "cache"))
    if words[0] in ("evaluate", "discover"):
        words += ["--overwrite"]  # runs/first and pairs are there for other examples
    done = STATUS.values() if words[0] == "check" else [0]
    assert main(words) in done, capsys.readouterr().err
    if "--limit" in words:
        assert cg.open_run(words[words.index("-o") + 1]).predictions.height == 20


def test_every_reason_to_only_parse_is_used():
    assert all(any(example.startswith(start) for example in EXAMPLES) for start in PARSED)


def test_quiet_leaves_results_and_takes_notes(workplace, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(workplace)
    words = [
        "discover",
        "my-photos",
        "--referee",
        "colour_model:thousand",
        "-q",
        "-o",
        str(tmp_path / "pairs"),
    ]
    assert main(words) == 0
    shown = capsys.readouterr()
    assert read_benchmark(tmp_path / "pairs").notes
    assert "Note" not in shown.out
    assert "Pairs chosen by" in shown.out
    assert not shown.err
