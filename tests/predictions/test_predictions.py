"""Predictions that exist become a run: which photo and which class they mean, and what does not count."""

import json

import made_runs
import numpy as np
import polars as pl
import pytest

import counterground as cg
from counterground.errors import CounterGroundError, UsageError
from counterground.results import repeat_command
from counterground.settings import EvaluateSettings

WRONG = EvaluateSettings(other_names="wrong")
SKIP = EvaluateSettings(skip_bad_rows=True)
NAMES = ("fox", "hare", "deer", "boar")
ALL = [(f"site{s}/{photo}.jpg", name) for s in (1, 2) for photo, name in zip("abcd", NAMES, strict=True)]


def csv_of(rows, header="path,prediction"):
    return "\n".join([header, *(",".join(map(str, row)) for row in rows), ""])


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_round_trip(tmp_path, suffix):
    """A run's table, in any format, gives the same scores."""
    run = made_runs.fresh_run({"one": (0.9, 0.5), "two": (0.8, 0.7)}, label_space="benchmark")
    rows = run.predictions.with_columns(
        predicted_name=pl.Series(np.array(made_runs.ANIMALS)[run.predictions["predicted_index"]])
    )
    rows.select("path", "class_name", "background", "group", "cluster").unique().write_csv(
        tmp_path / "data.csv"
    )
    file = tmp_path / f"given.{suffix}"
    {
        "csv": rows.write_csv,
        "tsv": lambda path: rows.write_csv(path, separator="\t"),
        "jsonl": rows.write_ndjson,
        "parquet": rows.write_parquet,
    }[suffix](file)
    again = cg.evaluate(
        tmp_path / "data.csv", predictions=file, out=tmp_path / "run", label_space="benchmark", report=False
    )
    ours, theirs = (
        each.estimates().filter(pl.col("class_index").is_null()).sort("model", "metric", "level")
        for each in (run, again)
    )
    assert ours["metric"].to_list() == theirs["metric"].to_list()
    for column in ("value", "low", "high", "p_value"):
        np.testing.assert_allclose(ours[column].to_numpy(), theirs[column].to_numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "written",
    [
        lambda path: path,
        lambda path: f"/data/2024/{path}",
        lambda path: f"./{path}",
        lambda path: "\\\\nas\\" + path.replace("/", "\\"),
    ],
)
def test_paths_match_at_their_ends(predicted, written):
    assert predicted(csv_of([(written(path), name) for path, name in ALL])) == dict(ALL)


def test_absolute_paths_of_another_site_do_not_fit(tmp_path):
    (tmp_path / "data.csv").write_text(
        csv_of([(f"{tmp_path}/site1/{photo}.jpg", "fox") for photo in "abc"], "path,label")
    )
    rows = [
        (f"{tmp_path}/site{s}/{photo}.jpg", "hare" if s == 2 else "fox") for s in (1, 2) for photo in "abc"
    ]
    (tmp_path / "given.csv").write_text(csv_of([*rows[:2], *rows[3:]]))
    settings = EvaluateSettings(other_names="wrong")
    run = cg.evaluate(
        tmp_path / "data.csv", predictions=tmp_path / "given.csv", out=tmp_path / "run", settings=settings
    )
    assert run.predictions.select("path", "correct").rows() == [("a.jpg", True), ("b.jpg", True)]
    assert len(pl.read_csv(run.path / "left_out.csv")) == 3


def test_addresses_match(tmp_path):
    urls = [f"https://photos.example/{photo}.jpg" for photo in "ab"]
    (tmp_path / "data.csv").write_text(csv_of([(url, "fox") for url in urls], "url,label"))
    (tmp_path / "given.csv").write_text(csv_of([(url, "fox") for url in urls], "url,prediction"))
    run = cg.evaluate(tmp_path / "data.csv", predictions=tmp_path / "given.csv", out=tmp_path / "run")
    assert run.predictions["correct"].to_list() == [True, True]


def test_a_photo_is_known_by_its_id(evaluate, traps):
    ids = dict(evaluate(csv_of(ALL)).photos.select("path", "photo_id").iter_rows())
    rows = [(ids[path], name) for path, name in ALL]
    again = evaluate(csv_of(rows, "photo_id,label"), overwrite=True)
    assert again.predictions["correct"].all()


def test_a_file_name_of_two_photos_is_refused(evaluate):
    with pytest.raises(CounterGroundError, match=r"'a\.jpg' fits 2 photos"):
        evaluate(csv_of([("a.jpg", "fox")]))


def test_what_is_missing_or_strange_is_counted_and_listed(evaluate):
    rows = [*ALL[:6], ("site3/x.jpg", "fox")]
    run = evaluate(csv_of(rows))
    assert (run.info.counts.unreadable, len(run.predictions)) == (2, 6)
    unreadable = pl.read_csv(run.path / "unreadable.csv")
    assert unreadable["path"].to_list() == ["site2/c.jpg", "site2/d.jpg"]
    left_out = pl.read_csv(run.path / "left_out.csv")
    assert left_out.rows() == [("given.csv", 7, "site3/x.jpg", "no such photo")]
    assert len(run.info.warnings) == 2


def test_predictions_for_other_photos_only_are_refused(evaluate):
    with pytest.raises(CounterGroundError, match="z/1"):
        evaluate(csv_of([("z/1.png", "fox")]))


def test_a_label_beside_what_looks_like_a_prediction_is_not_taken(evaluate):
    """It may be what is true."""
    with pytest.raises(UsageError, match="--map prediction=COLUMN"):
        evaluate(csv_of([(path, name, "fox") for path, name in ALL], "path,label,model_output"))


def test_a_photo_twice_under_one_model_is_refused(evaluate):
    with pytest.raises(CounterGroundError, match=r"site1/a\.jpg"):
        evaluate(csv_of([*ALL, ALL[0]]))


def test_several_models(evaluate):
    rows = [(path, name, model) for model in ("old", "new") for path, name in ALL]
    rows[0] = ("site1/a.jpg", "boar", "old")
    run = evaluate(csv_of(rows, "path,prediction,model"))
    accuracy = run.scores().filter(pl.col("metric") == "plain_accuracy", pl.col("column").is_null())
    assert dict(accuracy.select("model", "value").iter_rows()) == {"old": 7 / 8, "new": 1.0}


def test_a_photo_that_one_model_lacks_is_left_out_for_all(evaluate):
    rows = [(path, name, model) for model in ("old", "new") for path, name in ALL][:-1]
    assert len(evaluate(csv_of(rows, "path,prediction,model")).predictions) == 14


def test_unknown_names_are_refused_at_once(evaluate):
    rows = [("site1/a.jpg", "foxx"), ("site1/b.jpg", "unicorn"), *ALL[2:]]
    with pytest.raises(UsageError, match=r"2 of 6 .*'foxx' \(did you mean 'fox'\?\), 'unicorn'"):
        evaluate(csv_of(rows))
    run = evaluate(csv_of(rows), settings=WRONG)
    assert run.predictions["correct"].to_list() == [False, False, *[True] * 6]
    assert run.predictions["predicted_name"].to_list()[:2] == ["foxx", "unicorn"]
    assert run.predictions["predicted_index"].null_count() == 2


def test_a_class_that_no_prediction_names_is_told(evaluate):
    """As where SpeciesNet says northern raccoon, and the table raccoon."""
    rows = [(path, "porky" if name == "boar" else name) for path, name in ALL]
    warnings = evaluate(csv_of(rows), settings=WRONG).info.warnings
    assert any("'boar' (2 photos)" in each for each in warnings)


def test_indices_follow_the_candidate_labels(predicted, tmp_path):
    space = tmp_path / "names.txt"
    space.write_text("hare\nfox\nboar\ndeer\n")
    order = ("hare", "fox", "boar", "deer")
    rows = [(path, order.index(name)) for path, name in ALL]
    assert predicted(csv_of(rows, "path,index"), label_space=str(space)) == dict(ALL)
    floats = [(path, float(index)) for path, index in rows]  # as pandas writes them
    assert predicted(csv_of(floats, "path,index"), label_space=str(space), overwrite=True) == dict(ALL)
    with pytest.raises(UsageError, match="4 is no index"):
        predicted(
            csv_of([(path, 4) for path, _ in ALL], "path,index"), label_space=str(space), overwrite=True
        )


def test_imagenets_names_match_by_synonym_and_wnid(tmp_path):
    (tmp_path / "data.csv").write_text("path,class_name\na.jpg,tench\nb.jpg,goldfish\nc.jpg,goldfish\n")
    (tmp_path / "given.csv").write_text(
        "path,label\na.jpg,n01440764\nb.jpg,Carassius auratus\nc.jpg,great white shark\n"
    )
    run = cg.evaluate(
        tmp_path / "data.csv", predictions=tmp_path / "given.csv", out=tmp_path / "run", report=False
    )
    assert run.predictions["correct"].to_list() == [True, True, False]
    assert run.info.candidates.name == "imagenet"


def test_further_candidates_give_a_rank(evaluate):
    names = ["fox", "hare", "deer", "boar", "fox"]
    rows = [(path, *names) for path, _ in ALL]
    run = evaluate(csv_of(rows, "path,top1,top2,top3,top4,top5"))
    assert run.predictions["true_rank"].to_list() == [0, 1, 2, 3] * 2
    few = evaluate(csv_of([row[:4] for row in rows], "path,top1,top2,top3"), overwrite=True)
    assert few.predictions["true_rank"].null_count() == 8


def test_bad_rows_are_listed_at_once_or_skipped(evaluate):
    rows = [*ALL]
    rows[1], rows[5] = ("site1/b.jpg", ""), ("", "hare")
    with pytest.raises(CounterGroundError, match=r"2 bad rows: row 2 .*row 6"):
        evaluate(csv_of(rows))
    run = evaluate(csv_of(rows), settings=SKIP)
    assert len(run.predictions) == 6
    assert pl.read_csv(run.path / "left_out.csv")["row"].to_list() == [2, 6]


def test_confidence_that_is_no_probability_is_not_used(evaluate):
    rows = [(path, name, 87.5 if path == "site1/d.jpg" else 0.5) for path, name in ALL]
    run = evaluate(csv_of(rows, "path,prediction,confidence"))
    assert run.predictions["confidence"].null_count() == len(run.predictions) == 8
    assert [text for text in run.info.warnings if "row 4" in text and "87.5" in text]


def test_a_half_written_line_is_a_bad_row(evaluate):
    text = csv_of(ALL)
    with pytest.raises(CounterGroundError, match="row 8"):
        evaluate(text[: text.rindex(",")])


def test_a_flipped_byte_is_one_line(evaluate, tmp_path):
    pl.DataFrame(ALL, ["path", "prediction"], orient="row").write_parquet(tmp_path / "whole.parquet")
    data = bytearray((tmp_path / "whole.parquet").read_bytes())
    data[-20] ^= 255
    with pytest.raises(CounterGroundError, match=r"given\.parquet") as error:
        evaluate(bytes(data), "given.parquet")
    assert "\n" not in str(error.value)


def test_a_wrong_column_names_what_is_there(evaluate):
    with pytest.raises(UsageError, match=r"site, answer.*--map photo=COLUMN"):
        evaluate("site,answer\na,b\n")
    with pytest.raises(UsageError, match="'guess'"):
        evaluate(csv_of(ALL), map={"prediction": "guess"})


def test_columns_are_named_by_the_user(predicted):
    text = csv_of([("junk", path, name) for path, name in ALL], "label,shot,guess")
    assert predicted(text, map={"photo": "shot", "prediction": "guess"}) == dict(ALL)


def test_a_dropped_class_is_left_out_and_wrong(evaluate):
    rows = [("site1/a.jpg", "boar"), *ALL[1:]]
    run = evaluate(csv_of(rows), settings=EvaluateSettings(drop_classes=("boar",)))
    assert dict(run.predictions.select("path", "correct").iter_rows())["site1/a.jpg"] is False
    assert (len(run.predictions), run.info.counts.unreadable) == (6, 0)
    assert not (run.path / "left_out.csv").exists()


def test_the_run_is_like_any_other(evaluate, traps, tmp_path):
    """It opens by its table alone, keeps its folder, is checked, and says how to make it again."""
    run = evaluate(csv_of(ALL))
    assert cg.check(run.path / "predictions.parquet", min_accuracy=0.3).verdict == "pass"
    first = (run.path / "predictions.parquet").read_bytes()
    assert evaluate(csv_of(ALL)).info.request == run.info.request
    assert (run.path / "predictions.parquet").read_bytes() == first
    with pytest.raises(CounterGroundError):
        evaluate(csv_of(ALL[::-1]))
    record = json.loads((run.path / "run.json").read_text())
    assert record["models"][0] | {"fingerprint": ""} == {
        "name": "given",
        "spec": "given",
        "kind": "predictions",
        "fingerprint": "",
        "description": {"predictions": "given.csv", "format": "table"},
    }
    assert "--predictions given.csv" in repeat_command(run)


def test_columns_of_photos_may_have_any_name(tmp_path):
    rows = ["path,label,row,key,prediction", *(f"{path},{name},A,B,3" for path, name in ALL)]
    (tmp_path / "data.csv").write_text("\n".join(rows))
    (tmp_path / "given.csv").write_text(csv_of(ALL))
    run = cg.evaluate(
        tmp_path / "data.csv", predictions=tmp_path / "given.csv", out=tmp_path / "run", report=False
    )
    assert run.predictions["correct"].all()
    assert set(run.predictions["row"]) == {"A"}


def test_models_and_predictions_are_not_given_together(traps, tmp_path):
    with pytest.raises(UsageError):
        cg.evaluate(traps, "efficientnet-lite0", predictions=tmp_path / "x.csv")
