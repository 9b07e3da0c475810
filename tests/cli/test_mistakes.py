"""Mistakes on purpose: each gets one line that names the culprit and the remedy, and nothing is written.

A row is a command, the status it ends with, and what its line must say: the culprit, then the remedy. MODEL
stands for a model that fits all photos of ``place``. To add a mistake, add a row under its command.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from noise_photos import save_animals, save_noise

import counterground as cg
from counterground.cli import main

EVALUATE = "evaluate photos -m MODEL -o out"
DISCOVER = "discover photos --referee MODEL -o out"
SWAP = "swap photos -m MODEL -o out"

MISTAKES = [
    # the command itself
    ("evaluat photos -m MODEL -o out", 2, "No such command 'evaluat'", "Did you mean 'evaluate'?"),
    ("evaluate", 2, "Missing argument 'DATA'", "`counterground evaluate --help`"),
    ("evaluate photos -o out", 2, "-m MODEL", "--predictions FILE"),
    (f"{EVALUATE} --promts simple", 2, "'--promts'", "'--prompts'"),
    # the same objects on other backgrounds
    (SWAP, 1, "No photo of photos has a mask that can be used", "add --masks"),
    (f"{SWAP} --kinds origina", 2, "no kind 'origina' of composite", "Did you mean 'original'?"),
    (f"{SWAP} --kinds mixed_same,grey", 2, "mixed_same and mixed_rand", "name both or neither"),
    # what is evaluated on
    ("evaluate photoz -m MODEL -o out", 2, "'photoz'", "Did you mean 'photos'"),
    ("evaluate notes.txt -m MODEL -o out", 2, "notes.txt is neither a folder", "manifest (.parquet, "),
    ("evaluate damaged.parquet -m MODEL -o out", 1, "damaged.parquet", "Cannot read the table"),
    ("evaluate run -m MODEL -o out", 2, "run is a run, not a benchmark", "name the folder of the photos"),
    ("evaluate photos/flamingo -m MODEL -o out", 2, "photos/flamingo is the folder of one class", "above it"),
    ("evaluate damaged-pairs -m MODEL -o out", 1, "damaged-pairs cannot be read", "Write it again"),
    # the model
    (
        "evaluate photos -m onnx:notes.txt -o out",
        2,
        "neither preprocessing nor",
        "write them into notes.txt.json",
    ),
    ("evaluate photos -m nowhere:load -o out", 2, "no module 'nowhere'", "in this folder"),
    ("evaluate photos -m my_code:brokn -o out", 2, "my_code has no 'brokn'", "Did you mean 'broken'?"),
    ("evaluate photos -m my_code:broken -o out", 1, "no weights", "--debug"),
    ("evaluate photos -m http://127.0.0.1:9 -o out", 2, "http://127.0.0.1:9", "https://HOST/v1#MODEL"),
    # how it is evaluated
    (f"{EVALUATE} --label-space imagnet", 2, "'imagnet'", "Did you mean 'imagenet'?"),
    (f"{EVALUATE} --label-space two.txt", 2, "two.txt lacks classes 'black swan'", "Add them to the file"),
    (f"{EVALUATE} --label-space confusable", 2, "confusable", "add --referee MODEL"),
    (f"{EVALUATE} --referee MODEL", 2, "--referee chooses confusable names", "add --label-space confusable"),
    (f"{EVALUATE} --names two.txt", 2, "two.txt lists 2 names for 1000", "one line per class"),
    (
        f"{EVALUATE} --prompts missing.txt",
        2,
        "'missing.txt'",
        "Expected prompt templates: 'simple', 'openai'",
    ),
    (f"{EVALUATE} --device tpu", 2, "'tpu'", "auto, cpu, cuda, mps"),
    (f"{EVALUATE} -X batch-size=0", 2, "-X batch-size", "equal to 1"),
    (f"{EVALUATE} -X bach-size=4", 2, "'bach-size'", "Did you mean 'batch_size'?"),
    (f"{EVALUATE} -X runtime", 2, "'runtime'", "-X help lists the names"),
    # where the run is written
    ("evaluate photos -m MODEL -o photos", 2, "photos is the benchmark", "choose another folder"),
    ("evaluate photos -m MODEL -o .", 2, ". holds the benchmark", "choose another folder"),
    ("evaluate photos -m MODEL -o thesis", 2, "'thesis.tex'", "choose an empty or a new folder"),
    (
        "evaluate photos -m MODEL -o pool --overwrite",
        2,
        "'decisions.sqlite'",
        "choose an empty or a new folder",
    ),
    ("evaluate photos -m MODEL -o notes.txt", 2, "notes.txt is a file", "choose a folder"),
    ("evaluate photos -m MODEL -X batch-size=7 -o run", 1, "run holds another run", "--overwrite"),
    ("evaluate photos -m MODEL -o damaged-run", 1, "damaged-run", "evaluate again"),
    # plan
    ("plan", 2, "which drop to detect", "--drop 10%"),
    ("plan --drop 0", 2, "not 0", "greater than 0"),
    ("plan --drop 10% --power 80", 2, "--power is from 0 to 1", "written 10% or 0.1"),
    ("plan --drop 90%", 2, "cannot drop by 90 points", "80.0 %"),
    ("plan --drop 10% --cluster-size 999", 2, "not 999", "1 to 400 photos"),
    ("plan --drop 10% --against MODEL", 2, "--against", "needs a pilot RUN"),
    ("plan photos --drop 10%", 1, "photos is not a run folder", "`counterground evaluate`"),
    ("plan run --drop 10% --classes 9", 2, "classes is for planning without a run", "leave out one"),
    ("plan run --drop 10% --against MODEL", 2, "no other model", "to plan a comparison with"),
    # check
    ("check run", 2, "nothing to check", "add --max-drop"),
    ("check photos --max-drop 10%", 1, "photos is not a run folder", "`counterground evaluate`"),
    ("check run --max-drop 200", 2, "--max-drop", "from 0 to 1"),
    ("check run --max-drop 10% -m nothing", 2, "'nothing'", "there are colour_model:thousand"),
    ("check run --baseline other-run", 2, "in other-run", "the same photos"),
    ("check run --max-drop 10% --junit run/run.json", 2, "run/run.json is a file of the run", "another name"),
    ("check run --max-drop 10% --junit other-run/run.json", 2, "the run in other-run", "another name"),
    # discover
    ("discover photos -o out", 2, "'--referee'", "`counterground discover --help`"),
    (f"{DISCOVER} --split thirds", 2, "'thirds'", "'half', 'cross' or 'none'"),
    ("discover photos --referee MODEL -o photos/pairs", 2, "lies in the benchmark", "choose another folder"),
    ("discover photos --referee MODEL -o run", 2, "not a discovery", "choose an empty or a new folder"),
    # runs
    ("scores photos", 1, "photos is not a run folder", "`counterground evaluate`"),
    ("scores run/run.json", 2, "run/run.json is a file", "give run"),
    ("scores damaged-run", 1, "damaged-run is damaged (run.json", "evaluate again"),
    ("scores run --by colour", 2, "no column 'colour'", "there are class_name, background"),
    ("scores run --format json -o run/run.json", 2, "run/run.json is a file of the run", "another name"),
    (
        "scores run -m colour_model:thousan",
        2,
        "'colour_model:thousan'",
        "Did you mean 'colour_model:thousand'?",
    ),
    ("scores run run", 2, "run is given twice", "give each folder once"),
    ("compare", 2, "nothing to compare", "--published"),
    ("paper reproduce run", 2, "photos", "takes runs on CounterAnimal"),
    ("report run -o report.pdf", 2, "report.pdf is not an HTML file name", "ends in .html"),
    (
        "report run --benchmark elsewhere -o r.html",
        2,
        "elsewhere has no photo of these runs",
        "that was evaluated",
    ),
    ("report run --discovery photos -o r.html", 2, "photos was not written by discover", "discovery.json"),
    ("report run --no-photos --benchmark photos -o r.html", 2, "--no-photos", "use only one"),
    (
        "report run --discovery pairs -o r.html",
        2,
        "None of these runs was made on the pairs",
        "give the discovery",
    ),
    # options that would have no effect
    ("check run --max-drop 10% --margin 5%", 2, "--margin", "--baseline allows: add it"),
    ("data curate pool --device cpu", 2, "--device is for a model", "add --model"),
    (
        "evaluate pool/files -m MODEL -o out",
        2,
        "pool/files holds all photos of a pool",
        "name the pool, pool.",
    ),
    ("benchmarks --format json get stamps", 2, "get writes no JSON", "leave out the format"),
    # names
    ("benchmarks get stamp", 2, "'stamp'", "Did you mean 'stamps'?"),
    ("benchmarks get counteranimal --from notes.txt", 1, "notes.txt is not a zip or tar", "get it again"),
    # making a benchmark
    ("data collect photos -c zebra", 1, "photos is not a pool", "name a new folder"),
    ("data collect new -c zebra --taxon zebra=abc", 2, "--taxon must be a valid integer", "'abc'"),
    ("data collect new -c zebra --license cc-xx", 2, "'cc-xx'", "Did you mean 'cc-by'?"),
    ("data import loose -o new", 1, "lie directly in loose", "put them into class folders"),
    ("data import photos -o new --class zebra", 2, "photos is no folder with photos", "leave out --class"),
    ("data import photos -o new --rename flamngo=bird", 2, "'flamngo'", "Did you mean 'flamingo'?"),
    ("data import pool -o pool", 2, "--out pool is the source", "choose another folder"),
    ("data curate photos", 2, "no pool in photos", "`counterground data collect`"),
    (
        "data curate pool -m MODEL --label-space confusable",
        2,
        "--label-space",
        "add --referee MODEL",
    ),
    ("data label pool", 2, "Annotators need different names", "choose others"),
    ("data label pool --annotator ann -X labels=missing.txt", 2, "missing.txt", "Cannot read the labels"),
    ("data export photos -o out", 2, "'--format'", "`counterground data export --help`"),
    ("data export photos --format parquet -o out", 1, "no licence is stated", "--licence-for-unknown"),
    (
        "data export photos --format parquet --private -o thesis",
        2,
        "thesis",
        "choose a new folder",
    ),
    (
        "data export photos --format webdataset --private -o shared",
        2,
        "shared holds an export",
        "--overwrite",
    ),
    ("paper study theori -o out", 2, "'theori'", "Did you mean 'theory'?"),
    ("paper study multicoloredmnist --mnist empty -o out", 2, "empty holds no train-images", "with --mnist"),
]

MINE = """
def broken():
    raise ValueError("no weights")
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Iterator[Path]:
    """A folder with photos, a run, pairs, a pool, an export, and things that are none of these."""
    root = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("COUNTERGROUND_CACHE", str(root / ".cache"))
        save_animals(root / "photos")
        cg.evaluate("photos", "colour_model:thousand", out="run", report=False)
        cg.evaluate("photos", "colour_model:thousand", out="other-run", report=False, limit=40)
        how = {"label_space": "benchmark", "min_drop": 0, "split": "none", "write_anyway": True}
        cg.discover("photos", "colour_model:brightness", out="pairs", **how)
        assert main(["data", "import", "photos", "-o", "pool", "-q"]) == 0
        assert (
            main(["data", "export", "photos", "--format", "parquet", "--private", "-o", "shared", "-q"]) == 0
        )
    save_noise(root / "loose/a.jpg", 1)
    save_noise(root / "elsewhere/zebra/a.jpg", 99)
    (root / "empty").mkdir()
    (root / "thesis").mkdir()
    (root / "thesis/thesis.tex").write_text("my thesis")
    (root / "notes.txt").write_text("my notes")
    (root / "two.txt").write_text("swan\nbear\n")
    (root / "damaged.parquet").write_bytes(b"PAR1")
    (root / "my_code.py").write_text(MINE)
    shutil.copytree(root / "run", root / "damaged-run")
    (root / "damaged-run/run.json").write_text('{"models": ["x"]}')
    shutil.copytree(root / "pairs", root / "damaged-pairs")
    (root / "damaged-pairs/benchmark.json").write_text("{")
    yield root
    sys.modules.pop("my_code", None)


@pytest.mark.parametrize(
    ("command", "status", "culprit", "remedy"), MISTAKES, ids=[row[0] for row in MISTAKES]
)
def test_a_mistake_gets_one_line_with_culprit_and_remedy(
    command, status, culprit, remedy, place, monkeypatch, capsys
):
    monkeypatch.chdir(place)
    monkeypatch.syspath_prepend(place)
    before = contents(place)
    got = main(shlex.split(command.replace("MODEL", "colour_model:thousand")))
    said = capsys.readouterr().err
    assert got == status, said
    assert said.startswith("Error: ")
    assert said.count("\n") == 1, said
    assert culprit in said
    assert remedy in said
    assert "bug in CounterGround" not in said
    assert "report it" not in said
    assert contents(place) == before


def contents(root: Path) -> dict[str, bytes]:
    """All files; opening a pool writes its database, and one's own code leaves compiled copies."""
    files = [path for path in root.rglob("*") if path.is_file() and path.suffix not in {".pyc", ".lock"}]
    return {str(path.relative_to(root)): path.read_bytes() for path in files if ".sqlite" not in path.name}
