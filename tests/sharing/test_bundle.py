"""Bundles hold what their runs say and nothing of the machine; `share --check` names what was altered."""

import re
import shutil
from hashlib import sha256
from pathlib import Path

import polars as pl
import pytest
from evaluated import evaluated
from made_bundles import answer, forge, made_bundle, made_run
from noise_photos import save_noise

from counterground.api import evaluate, scores
from counterground.cli import main
from counterground.results import open_run
from counterground.sharing import check_bundle, share_run

FILES = {"label_space.json", "predictions.parquet", "run.json", "scores.parquet", "unreadable.csv"}


def contents(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def texts(folder):
    """All that can be read in the files of a bundle, compressed columns too."""
    for file in folder.iterdir():
        yield file.read_bytes().decode("utf-8", "replace")
        if file.suffix == ".parquet":
            yield str(pl.read_parquet_metadata(file))
            yield pl.read_parquet(file).write_csv()


def rewrite(name, edit):
    """Function: changes the table of a file, and nothing else."""

    def change(folder):
        edit(pl.read_parquet(folder / name)).write_parquet(folder / name)

    return change


def replaced(name, old, new):
    """Function: changes the first place of a text in a file."""

    def change(folder):
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return change


def first(column, value):
    """The expression of a column with another value in the first row."""
    chosen = pl.int_range(pl.len()) == 0
    return pl.when(chosen).then(value).otherwise(pl.col(column)).alias(column)


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A run of made-up answers, with clusters, and its bundle."""
    folder = tmp_path_factory.mktemp("made")
    run = made_run(folder / "run", {"first": (0.8, 0.5)}, lacking={3: "counter"})
    return run, share_run(open_run(run), folder / "bundle").path


@pytest.mark.parametrize("which", ["made", "real"])
def test_a_bundle_has_the_scores_and_answers_of_its_run(made, originals, which):
    run, bundle = made if which == "made" else (originals / "run", originals / "bundle")

    assert scores(bundle).equals(scores(run))
    ours, theirs = (
        open_run(folder).predictions.sort("path", maintain_order=True) for folder in (run, bundle)
    )
    assert theirs["path"].to_list() == [f"{number:08}" for number in range(1, len(ours) + 1)]
    assert theirs.drop("path", "cluster").equals(ours.drop("path", "cluster"))
    clusters = pl.DataFrame({"ours": ours["cluster"], "theirs": theirs["cluster"]}).unique()
    assert clusters["ours"].n_unique() == clusters["theirs"].n_unique() == len(clusters)
    assert {file.name for file in bundle.iterdir()} == FILES
    assert 0 < ours["correct"].mean() < 1


def test_nothing_of_the_machine_is_in_a_bundle(tiny_clip, photos, tmp_path):
    home = tmp_path / "home" / "Ada Lovelace"
    own = shutil.copytree(photos, home / "photos-of-ada")
    clip = shutil.copytree(tiny_clip, home / "clip")
    (home / "prompts.txt").write_text("A photo of {}.\nA drawing of {}.\n")
    save_noise(own / "flamingo/common-water/again.jpg", 33)  # a copy of another photo
    run = evaluated(own, f"open_clip:{clip}", tmp_path / "run", prompts=str(home / "prompts.txt"))

    assert main(["share", str(run.path), "-o", str(tmp_path / "bundle")]) == 0

    private = (str(tmp_path), str(Path.cwd()), "Ada Lovelace", ".jpg", "common-water")
    assert {each for text in texts(run.path) for each in private if each in text} >= {
        str(tmp_path),
        "Ada Lovelace",
        ".jpg",
    }
    assert [each for text in texts(tmp_path / "bundle") for each in private if each in text] == []
    assert "open_clip:clip" in (tmp_path / "bundle/run.json").read_text()


def test_a_run_gives_the_same_bytes_each_time_and_another_does_not_replace_it(made, tmp_path, refusal):
    run, bundle = made
    again = tmp_path / "again"
    for _ in range(2):
        assert main(["share", str(run), "-o", str(again)]) == 0
        assert contents(again) == contents(bundle)

    other = made_bundle(tmp_path / "board/other", level=(0.3, 0.2))
    forge(other, request="another")
    status, said = refusal("share", other, "-o", again)
    assert (status, str(again) in said) == (1, True)
    assert contents(again) == contents(bundle)


def test_models_of_one_run_have_a_bundle_each(tmp_path, refusal):
    run = made_run(tmp_path / "run", {"left": (0.8, 0.5), "right": (0.6, 0.6)})
    status, said = refusal("share", run, "-o", tmp_path / "none")
    assert (status, "left, right" in said) == (2, True)
    assert not (tmp_path / "none").exists()

    for model in ("left", "right"):
        assert main(["share", str(run), "--model", model, "-o", str(tmp_path / model)]) == 0
        expected = scores(run).filter(pl.col("model") == model)
        corrected = ("p_corrected", "family")  # for as many models as the run has
        assert scores(tmp_path / model).drop(corrected).equals(expected.drop(corrected))

    before = contents(tmp_path / "left")
    status, said = refusal("share", run, "--model", "right", "-o", tmp_path / "left")
    assert (status, str(tmp_path / "left") in said) == (1, True)
    assert contents(tmp_path / "left") == before


@pytest.mark.parametrize(("limit", "broken", "culprit"), [(6, False, "6 photos"), (None, True, "1 photo")])
def test_a_run_that_lacks_photos_is_refused(photos, tmp_path, refusal, limit, broken, culprit):
    if broken:
        (photos / "flamingo/common-water/0.jpg").write_bytes(b"no photo")
    run = tmp_path / "run"
    evaluate(photos, "colour_model:brightness", limit=limit, label_space="benchmark", out=run, report=False)

    status, said = refusal("share", run, "-o", tmp_path / "bundle")

    assert status == 2
    assert re.search(rf"(?<!\d){culprit}\b", said)
    assert not (tmp_path / "bundle").exists()


def test_an_honest_bundle_is_accepted(bundle, originals, capsys):
    assert main(["share", "--check", str(bundle), "--data", str(originals / "photos")]) == 0
    assert str(bundle) in capsys.readouterr().out
    forge(bundle)  # written by another program, so to speak
    assert main(["share", "--check", str(bundle), "--data", str(originals / "photos")]) == 0


NAMES = ("black swan", "flamingo", "ice bear")
SWAPPED = ("flamingo", "black swan", "ice bear")
TURNED = {0: 1, 1: 0, 2: 2}


def turned(rows):
    """Rows with the indices of the swapped names, for truth and answers alike."""
    return rows.with_columns(
        pl.col(name).replace_strict(TURNED, return_dtype=pl.Int32)
        for name in ("predicted_index", "true_index")
    )


def called(names):
    """Function: rows -> the same with other names of the answers."""
    name = pl.col("predicted_index").replace_strict(dict(enumerate(names)))
    return lambda rows: rows.with_columns(predicted_name=name)


@pytest.mark.parametrize(
    ("alter", "culprit"),
    [
        (rewrite("scores.parquet", lambda table: table.with_columns(first("value", 0.987))), "0.987"),
        (rewrite("scores.parquet", lambda table: table.with_columns(first("high", 0.987))), "0.987"),
        (rewrite("scores.parquet", lambda table: table.head(-1)), "scores.parquet"),
        (rewrite("predictions.parquet", lambda table: table.with_columns(~pl.col("correct"))), "correct"),
        (lambda folder: forge(folder, lambda rows: rows.with_columns(~pl.col("correct"))), "correct"),
        (
            lambda folder: forge(
                folder, lambda rows: rows.with_columns(pl.col("predicted_index").mod(2).cast(pl.Int32))
            ),
            "predicted_name",
        ),
        (
            lambda folder: forge(folder, lambda rows: rows.with_columns(predicted_index=pl.lit(3, pl.Int32))),
            "predicted_index",
        ),
        (lambda folder: forge(folder, lambda rows: rows[1:]), "47 photos"),
        (lambda folder: forge(folder, lambda rows: pl.concat([rows, _further(rows)])), "49 photos"),
        (
            lambda folder: forge(folder, lambda rows: rows.with_columns(first("photo_id", pl.lit("f" * 64)))),
            "photo_id of photo 00000001",
        ),
        (
            lambda folder: forge(folder, lambda rows: rows.with_columns(group=pl.lit("common"))),
            "group of photo",
        ),
        (lambda folder: forge(folder, names=SWAPPED), "predicted_name"),
        (lambda folder: forge(folder, called(SWAPPED), SWAPPED), "other names"),
        (lambda folder: forge(folder, turned, SWAPPED), "other names"),
        (lambda folder: forge(folder, lambda rows: called(NAMES)(turned(rows))), "true_index of photo"),
        (lambda folder: forge(folder, candidates__version="0" * 8), "other names"),
        (lambda folder: forge(folder, benchmark__version="0" * 64), "0" * 40),
        (lambda folder: (folder / "notes.txt").write_text("mine"), "notes.txt"),
        (lambda folder: (folder / "heads").mkdir(), "heads"),
        (lambda folder: (folder / "label_space.json").unlink(), "label_space.json"),
        (lambda folder: (folder / "scores.parquet").unlink(), "scores.parquet"),
        (lambda folder: (folder / "predictions.parquet").write_bytes(b"PAR1"), "damaged"),
        (replaced("run.json", '"spec"', '"spic"'), "run.json"),
        (lambda folder: forge(folder, benchmark__sampled=48), "48 photos"),
    ],
    ids=[
        "score",
        "interval",
        "row-of-scores",
        "correct-alone",
        "correct",
        "index-without-name",
        "index-without-a-name",
        "removed-photo",
        "further-photo",
        "other-photo",
        "other-group",
        "names-alone",
        "names-and-answers",
        "names-and-indices",
        "indices",
        "names-that-compete",
        "benchmark-version",
        "foreign-file",
        "foreign-folder",
        "missing-names",
        "missing-scores",
        "damaged-answers",
        "damaged-record",
        "trial",
    ],
)
def test_what_was_altered_is_named(bundle, originals, refusal, alter, culprit):
    alter(bundle)

    status, said = refusal("share", "--check", bundle, "--data", originals / "photos")

    assert status == 1
    assert str(bundle) in said
    assert culprit in said


def _further(rows):
    return rows[:1].with_columns(path=pl.lit("00000049"))


def test_an_altered_answer_alone_adds_up(bundle, originals):
    """Only an audit finds it: `test_audit` does."""
    forge(bundle, answer(["00000001", "00000002"]))
    assert main(["share", "--check", str(bundle), "--data", str(originals / "photos")]) == 0


def test_the_benchmark_must_be_named_unless_it_is_built_in(bundle, refusal):
    status, said = refusal("share", "--check", bundle)
    assert (status, "photos" in said, "--data" in said) == (2, True, True)


def test_a_bundle_of_counteranimals_size_is_small(tmp_path):
    folder = made_bundle(tmp_path / "bundle", per_group=728)  # 9 classes of two groups
    hashes = pl.col("path").map_elements(
        lambda path: sha256(path.encode()).hexdigest(), return_dtype=pl.String
    )
    forge(folder, lambda rows: rows.with_columns(photo_id=hashes))

    assert len(check_bundle(folder).photos) == 13_104
    assert sum(file.stat().st_size for file in folder.iterdir()) < 2_000_000
