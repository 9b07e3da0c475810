"""What commands write holds no absolute path and no user's name, unless paths are kept on purpose."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import forked
import polars as pl
import pytest
from planted_photos import Planted, planted_benchmark

import counterground as cg
from counterground.metrics import Contrast, Design
from counterground.photos import write_benchmark
from counterground.privacy import KEEP_PATHS, keep_secret, keep_secrets_of, masked, shareable

USER = "telltale-user"
MODEL = "from planted_photos import Planted\n\nload = Planted\n"

COMMANDS = (
    "evaluate {photos} -m {model} --out runs/plain",
    "evaluate {photos} -m {clip} -m {model} --names openai --prompts {prompts} --out runs/two",
    "discover {photos} --referee {model} --write-anyway --out pairs",
    "evaluate pairs -m {model} --out runs/chosen",
    "mitigate {photos} -m {model} --method text-projection --out mitigated",
    "masks {photos} --from manifest --out masks",
    "swap {photos} -m {model} --backgrounds-per-label 2 --label-space benchmark --out swapped",
    "report runs/plain runs/two runs/chosen --discovery pairs --out report.html",
    "compare runs/two --format json",
    "scores runs/two --format model-card",
    "scores runs/two --format latex --out shared.tex",
    "export {photos} --format counteranimal --format webdataset --format croissant --private --out exported",
    "import pool {photos}",
    "curate pool",
    "pool pool --out pool.html",
    "export pool --format parquet --private --out frompool",
    "check runs/plain --max-drop 99 --junit check.xml",
)


@pytest.fixture(scope="module")
def home(tmp_path_factory, tiny_clip):
    """A user's home with photos, a model and prompts; work is done in a folder beside it."""
    home = tmp_path_factory.mktemp("home") / USER
    photos = home / "my photos"
    photos.mkdir(parents=True)
    write_benchmark(planted_benchmark(masks=photos), home / "planted")
    (home / "planted_model.py").write_text(MODEL)
    (home / "prompts.txt").write_text("a photo of a {}.\n")
    (home / "clip").symlink_to(tiny_clip)
    return home


def _texts(folder: Path) -> dict[str, str]:
    """Every file below a folder as text; tables and databases by their values."""
    found = {}
    for file in sorted(folder.rglob("*")):
        if not file.is_file():
            continue
        text = file.read_bytes().decode("latin-1")
        if file.suffix == ".parquet":
            frame = pl.read_parquet(file)
            text += str(frame.select(pl.exclude(pl.Binary)).to_dicts())
        if file.suffix == ".sqlite":
            with sqlite3.connect(file) as database:
                text += "\n".join(database.iterdump())
        found[file.relative_to(folder).as_posix()] = text
    return found


def _work(home: Path, folder: Path, commands=COMMANDS, **environment: str) -> list[str]:
    """Run commands as that user, in a folder of the project."""
    folder.mkdir(parents=True)
    given = {
        "photos": home / "planted",
        "model": f"{home}/planted_model.py:load",
        "clip": f"open_clip:{home}/clip",
        "prompts": home / "prompts.txt",
    }
    words = [[word.format(**given) for word in command.split()] for command in commands]
    code = "import json, sys\nfrom counterground.cli import main\n"
    code += "for words in json.loads(sys.argv[1]):\n    print(main(words), words, flush=True)\n"
    who = {
        "HOME": str(home),
        "USER": USER,
        "COUNTERGROUND_CACHE": str(folder.parent / "cache"),
        KEEP_PATHS: "0",
    }
    where = {"PYTHONPATH": str(Path(__file__).parents[1] / "support")}
    ran = forked.run(code, json.dumps(words), folder=folder, environment=who | where | environment)
    assert ran.returncode == 0, ran.stderr
    failed = [line for line in ran.stdout.splitlines() if line[:2] in ("1 ", "2 ") and line.endswith("]")]
    assert not failed, (failed, ran.stderr)
    return ran.stdout.splitlines()


@pytest.fixture(scope="module")
def project(home, tmp_path_factory):
    folder = tmp_path_factory.mktemp("projects") / USER / "project"
    _work(home, folder)
    return folder


def test_no_file_names_the_user_or_an_absolute_path(project, home):
    texts = _texts(project)
    assert len(texts) > 60
    ways = {"benchmark.json", "masks.json"}  # a benchmark says where its photos are, from where it is itself
    named = [name for name, text in texts.items() if USER in text and Path(name).name not in ways]
    assert named == []
    assert [name for name, text in texts.items() if str(home) in text or str(project) in text] == []


def test_models_are_called_by_what_loads_them_again(project):
    info = json.loads((project / "runs" / "two" / "run.json").read_text())
    assert [model["name"] for model in info["models"]] == ["open_clip:~/clip", "~/planted_model.py:load"]
    assert [model["spec"] for model in info["models"]] == ["open_clip:~/clip", "~/planted_model.py:load"]
    assert info["prompts"] == "~/prompts.txt"
    report = (project / "report.html").read_text()
    assert "~/planted_model.py:load" in report


def test_the_same_command_finds_its_run_and_a_short_name_loads_it(project, home, tmp_path):
    again = (
        "evaluate {photos} -m {model} --out " + str(project / "runs" / "plain"),
        "evaluate {photos} -m ~/planted_model.py:load --out short",
        "compare " + str(project / "runs" / "two") + " --against {model}",
    )
    folder = project / "runs" / "plain"
    before = json.loads((folder / "run.json").read_text())
    predicted = (folder / "predictions.parquet").read_bytes()
    _work(home, tmp_path / "elsewhere", again)
    after = json.loads((folder / "run.json").read_text())
    times = {"created": 0, "seconds": 0}
    assert after | times == before | times
    assert (folder / "predictions.parquet").read_bytes() == predicted
    short = json.loads((tmp_path / "elsewhere" / "short" / "run.json").read_text())
    assert short["models"][0]["fingerprint"] == before["models"][0]["fingerprint"]


def test_paths_are_kept_on_purpose(home, tmp_path):
    _work(home, tmp_path / "work", ["evaluate {photos} -m {model} --keep-paths --out run"])
    info = json.loads((tmp_path / "work" / "run" / "run.json").read_text())
    assert info["models"][0]["spec"] == f"{home}/planted_model.py:load"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("open_clip:{home}/models/best", "open_clip:~/models/best"),
        ("{home}", "~"),
        ("onnx:/data/somebody/best.onnx?labels=imagenet", "onnx:best.onnx?labels=imagenet"),
        ("ViT-B-32@/data/somebody/w.pt", "ViT-B-32@w.pt"),
        ("cannot read /srv/data/x.png: damaged", "cannot read x.png: damaged"),
        ("file:///srv/data/x.png", "x.png"),
        (r"C:\Users\somebody\model.pt", "model.pt"),
        ("/data/somebody/folder/", "folder"),
        ("{cwd}/a/b.txt", "b.txt"),
        ("hf:google/siglip2-base-patch16-224", "hf:google/siglip2-base-patch16-224"),
        ("https://example.org/v1/x#m", "https://example.org/v1/x#m"),
        ("http://localhost:8000/v1#/models/Qwen2-VL-7B", "http://localhost:8000/v1#/models/Qwen2-VL-7B"),
        ("s3://bucket/folder/file", "s3://bucket/folder/file"),
        ("http://[::1]/v1/models", "http://[::1]/v1/models"),
        ("see https://example.org/X_(Y)/a/b or /srv/data/x", "see https://example.org/X_(Y)/a/b or x"),
        ("https://example.org/1.tar?names=/srv/data/names.txt", "https://example.org/1.tar?names=names.txt"),
        ("../photos/a.jpg and/or 1/2", "../photos/a.jpg and/or 1/2"),
        ("/home-of-another/a/b", "b"),
    ],
)
def test_absolute_paths_are_shortened_and_nothing_else(text, shown, tmp_path, monkeypatch):
    home, here = tmp_path / "a home" / "ann", tmp_path / "a project"
    home.mkdir(parents=True)
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv(KEEP_PATHS, raising=False)
    monkeypatch.chdir(here)
    filled = text.replace("{home}", str(home)).replace("{cwd}", str(here))
    assert shareable([{"a": filled}]) == [{"a": shown}]
    assert shareable({"texts": filled}, but=("texts",)) == {"texts": filled}
    monkeypatch.setenv(KEEP_PATHS, "1")
    assert shareable(filled) == filled


def test_a_long_word_is_read_in_one_go():
    word = "aB3" * 500_000  # hours, if each of its letters began the scheme of an address
    assert shareable(f"{word} /srv/data/x http://[::1]/v1/y") == f"{word} x http://[::1]/v1/y"


def test_values_of_columns_are_no_places(tmp_path, monkeypatch):
    monkeypatch.delenv(KEEP_PATHS, raising=False)
    planted = planted_benchmark(masks=tmp_path)
    photos = planted.photos.with_columns(background="/b/" + pl.col("background"))
    first, second, *_ = photos["background"].unique().sort()
    design = Design(("class_name",), (Contrast("places", f"background={first}", f"background={second}"),))
    cg.evaluate(
        replace(planted, photos=photos, notes=("from /srv/data/photos",), design=design),
        Planted,
        out=tmp_path / "run",
        report=False,
    )
    run = cg.open_run(tmp_path / "run")
    assert run.design == design
    assert run.info.benchmark.notes == ["from photos"]
    figures = run.with_contrast(run.design.contrasts[0]).scores.filter(pl.col("class_index").is_null())
    assert figures.filter(metric="places")["value"].null_count() == 0


def test_only_what_is_called_as_a_key_is_kept_secret_in_an_address():
    keep_secrets_of(
        "https://ann:first-password@host/x?project=elephants&author=leopards-2&keyword=a-long-word"
    )
    keep_secrets_of("https://host/x?sig=second-secret&X-Amz-Signature=third-secret&api_key=fourth-secret")
    said = "a herd of elephants, leopards-2, a-long-word"
    assert masked(said) == said
    assert masked("first-password second-secret third-secret fourth-secret") == "*** *** *** ***"


def test_a_secret_is_masked_as_it_is_and_as_addresses_write_it():
    keep_secret("pa/ss word+1")
    assert masked("a pa/ss word+1 and pa%2Fss%20word%2B1") == "a *** and ***"
