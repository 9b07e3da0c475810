"""Files that other programs write; files/make_files.py says how they were made."""

import json
from pathlib import Path

import polars as pl
import pytest

import counterground as cg
from counterground.errors import CounterGroundError, UsageError
from counterground.predictions import GivenPredictions, PredictionFormat
from counterground.settings import EvaluateSettings

FILES = Path(__file__).parent / "files"
LENIENT = EvaluateSettings(other_names="wrong", skip_bad_rows=True)

LABELS = """path,class_name
site1/a.jpg,fox
site1/b.jpg,hare
"""


def _evaluate(table, file, folder):
    return cg.evaluate(table, predictions=file, out=folder / "run", report=False, settings=LENIENT)


@pytest.fixture
def read(tmp_path):
    """Function: format and predictions of a file, on photos of these classes."""

    def run(name, classes=("fox", "hare", "deer", "boar"), extra=""):
        rows = [
            f"site1/{photo}.jpg,{of},{at}" for at, (photo, of) in enumerate(zip("abcd", classes, strict=True))
        ]
        table = tmp_path / "labels.csv"
        table.write_text("\n".join(["path,class_name,doc_id", *rows, *extra.split(), ""]))
        run = _evaluate(table, FILES / name, tmp_path)
        (record,) = run.info.models
        return record, dict(run.predictions.sort("path").select("path", "predicted_name").iter_rows()), run

    return run


def test_species_net(read):
    record, named, run = read("speciesnet.json", ("vulpes vulpes", "european hare", "empty", "roe deer"))
    assert record.description["format"] == "SpeciesNet"
    assert list(named.values())[:3] == ["vulpes vulpes", "european hare", "empty"]
    assert run.predictions["predicted_index"].null_count() == 1  # "even-toed ungulate" is no candidate
    assert pl.read_csv(run.path / "left_out.csv")["name"].to_list() == ["site2/a.jpg"]


def test_blanks_of_detectors_are_known_where_blank_is_dropped(tmp_path):
    (tmp_path / "labels.csv").write_text(LABELS + "site1/c.jpg,blank\n")
    text = (FILES / "speciesnet.json").read_text().replace("site1/a.jpg", "site9/a.jpg")
    (tmp_path / "given.json").write_text(text.replace("site1/c.jpg", "site1/a.jpg"))
    settings = EvaluateSettings(drop_classes=("blank",), skip_bad_rows=True)
    with pytest.raises(UsageError, match="european hare") as error:
        cg.evaluate(
            tmp_path / "labels.csv",
            predictions=tmp_path / "given.json",
            out=tmp_path / "run",
            settings=settings,
        )
    assert "blank" not in str(error.value)


def test_mega_detector(read):
    record, named, run = read("megadetector.json", ("fox", "hare", "empty", "boar"), "site2/a.jpg,person,9")
    assert record.description["format"] == "MegaDetector"
    assert list(named.values()) == ["fox", "hare", "empty", "empty", "person"]
    assert set(pl.read_csv(run.path / "left_out.csv")["reason"]) == {"no prediction"}


@pytest.mark.parametrize(
    ("name", "format_name"),
    [("inspect-choice.json", "Inspect"), ("inspect-text.json", "Inspect"), ("lmms-eval.jsonl", "lmms-eval")],
)
def test_answers(read, name, format_name):
    record, named, run = read(name)
    assert record.description["format"] == format_name
    assert run.predictions.sort("path")["correct"].to_list() == [True, True, False, True]
    assert list(named.values())[2] == ("fox" if name == "inspect-choice.json" else "a fox")
    assert record.name == ("mockllm/model" if format_name == "Inspect" else "lmms-eval")


def test_inspects_own_form_says_how_to_convert_it(tmp_path):
    (tmp_path / "labels.csv").write_text(LABELS)
    (tmp_path / "log.eval").write_bytes(b"PK")
    with pytest.raises(CounterGroundError, match="inspect log dump"):
        cg.evaluate(tmp_path / "labels.csv", predictions=tmp_path / "log.eval", out=tmp_path / "run")


FOX, HARE = ([{"label": "boar", "score": 0.3}, {"label": name, "score": 0.7}] for name in ("fox", "hare"))
FLAT = (("site1/a.jpg", "fox"), ("site1/b.jpg", "hare"))
TIMM = """filename,index,label,prob
site1/a.jpg,3,fox,0.7
site1/b.jpg,2,hare,0.7
"""
TIMM_TOP_2 = """filename,label_0,label_1,prob_0,prob_1
site1/a.jpg,fox,boar,0.7,0.3
site1/b.jpg,hare,boar,0.7,0.3
"""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "list.json",
            json.dumps([{"path": "site1/a.jpg", "out": FOX}, {"path": "site1/b.jpg", "out": HARE}]),
        ),
        ("dict.json", json.dumps({"site1/a.jpg": FOX, "site1/b.jpg": HARE})),
        ("flat.json", json.dumps([{"path": p, "label": n, "score": 0.7} for p, n in FLAT])),
        ("timm.csv", TIMM),
        ("timm.csv", TIMM_TOP_2),
    ],
)
def test_pipelines_and_timm(tmp_path, name, text):
    (tmp_path / "labels.csv").write_text(LABELS)
    (tmp_path / name).write_text(text)
    run = _evaluate(tmp_path / "labels.csv", tmp_path / name, tmp_path)
    assert run.predictions["correct"].all()
    assert run.predictions["confidence"].to_list() == pytest.approx([0.7, 0.7])


def test_another_package_adds_a_format(tmp_path, monkeypatch):
    def read_lines(path, _content, _columns):
        rows = [line.split("=") for line in path.read_text().split()]
        return GivenPredictions(pl.DataFrame(rows, ["photo", "prediction"], orient="row"))

    from counterground.predictions import FORMATS

    lines = PredictionFormat("lines", lambda path, _: path.suffix == ".lines", read_lines)
    monkeypatch.setitem(FORMATS.built_in, "lines", lines)
    (tmp_path / "labels.csv").write_text(LABELS)
    (tmp_path / "x.lines").write_text("site1/a.jpg=fox\nsite1/b.jpg=fox\n")
    run = _evaluate(tmp_path / "labels.csv", tmp_path / "x.lines", tmp_path)
    assert run.predictions["correct"].to_list() == [True, False]
