"""What ``import counterground as cg`` offers."""

import inspect
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import polars as pl
import pytest
import torch
from colour_model import pixels
from noise_photos import save_animals

import counterground as cg
from counterground import construction, paper
from counterground.errors import UsageError
from counterground.results import repeat_command
from counterground.settings import EvaluateSettings, MitigateSettings


def test_what_is_public_is_listed_and_there():
    assert dir(cg) == sorted(cg.__all__)
    assert all(getattr(cg, name) is not None for name in cg.__all__)


@pytest.mark.parametrize("name", [name for name in cg.__all__ if inspect.isfunction(getattr(cg, name))])
def test_every_argument_has_a_name_and_a_type(name):
    signature = inspect.signature(getattr(cg, name))
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    assert not kinds & {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
    annotations = [parameter.annotation for parameter in signature.parameters.values()]
    assert inspect.Parameter.empty not in [*annotations, signature.return_annotation]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda: cg.evaluate(pl.DataFrame({"path": ["a"]}), "efficientnet-lite0", out="x"),
            r"not DataFrame.*\.from_frame",
        ),
        (lambda: cg.format_scores(pd.DataFrame({"model": ["a"]})), r"\(DataFrame\) is not a run"),
        (lambda: cg.plan(drop="much"), "^drop is written 10% or 0.1"),
        (lambda: cg.check("run", max_drop=0.05, models=3), "models takes one text or several"),
        (lambda: cg.open_run(None), "its folder, not as NoneType"),
        # an unknown precision is refused before the benchmark is opened
        (
            lambda: cg.evaluate(
                "nowhere", "efficientnet-lite0", out="x", settings=EvaluateSettings(precision="fp8")
            ),
            "^precision",
        ),
        (
            lambda: cg.mitigate(
                "nowhere", "x", "all", out="x", settings=MitigateSettings(accept_licences=["mit"])
            ),
            "name the model with --masks",
        ),
    ],
)
def test_other_values_are_refused_in_one_line(call, said):
    with pytest.raises(UsageError, match=said):
        call()


AN_OBJECT = construction.ServerSettings()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: cg.scores(AN_OBJECT), "as runs or their folders, not as ServerSettings"),
        (lambda: cg.compare([AN_OBJECT]), "as a Run or its folder, not as ServerSettings"),
        (lambda: paper.reproduce(AN_OBJECT), "as runs or their folders, not as ServerSettings"),
        (lambda: cg.open_benchmark(AN_OBJECT), "A benchmark is .*, not ServerSettings"),
    ],
)
def test_an_object_in_the_place_of_another_is_named_with_what_is_wanted(call, said):
    with pytest.raises(UsageError, match=said):
        call()


NAMES = ["ice bear", "black swan", "flamingo"]


class Ends(torch.nn.Module):
    """Answers by the brightness of a photo."""

    def __init__(self, turn):
        super().__init__()
        self.turn = turn

    def forward(self, batch):
        return torch.roll(batch.mean((2, 3)), self.turn, 1)


@pytest.fixture
def evaluate(photos, tmp_path):
    def evaluate(name="run", turns=(0, 1), **how):
        models = {f"turn{turn}": (Ends(turn), pixels, NAMES) for turn in turns}
        settings = {"label_space": "benchmark", "device": "cpu", "report": False, **how}
        return cg.evaluate(photos, models, out=tmp_path / name, **settings)

    return evaluate


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda run, _: cg.scores([]), "There is no run"),
        (lambda run, _: cg.scores(None), "not as NoneType"),
        (lambda run, _: cg.scores([run, run.path]), "is given twice"),
        (lambda run, _: cg.report(run, "x.html", benchmarks=run), "A benchmark is .*, not Run"),
        (lambda run, other: cg.check([run, other], max_drop=0.05), "about one run, not 2"),
        (lambda run, _: cg.check(run, max_drop=0.05, models="turn"), "has the model 'turn'"),
        (
            lambda run, _: cg.check(run, max_drop=0.05, margin=0.01),
            "--margin is what --baseline allows",
        ),
        (
            lambda run, _: cg.plan(run, drop=0.05, icc=0.3),
            "icc is for planning without a run, and .* has its own value",
        ),
    ],
)
def test_arguments_that_would_be_ignored_or_fail_later_are_refused(call, said, evaluate):
    run, other = evaluate(), evaluate("other", turns=(2,))
    with pytest.raises(UsageError, match=said):
        call(run, other)


def test_one_of_several_needs_no_list(evaluate, photos, tmp_path):
    run = evaluate()
    assert {finding.model for finding in cg.check(run, max_drop=0.05, models="turn1").verdicts} == {"turn1"}
    assert len({finding.model for finding in cg.check(run, max_drop=0.05, models=iter(())).verdicts}) == 2
    assert cg.report(run, tmp_path / "page.html", benchmarks=photos).is_file()
    written = paper.write_figures(out=tmp_path / "figures", only=["2a"], formats=["svg"])
    assert [file.name for file in written.files] == ["figure-2a.svg", "captions.md"]
    assert construction.LabelSettings(annotators="ann").annotators == ("ann",)
    assert construction.CollectOptions(licences="cc0").licences == ("cc0",)


def test_what_scores_returned_may_be_changed(evaluate):
    run = evaluate()
    before = cg.scores(run).clone()
    cg.scores(run).drop_in_place("value")
    assert cg.scores(run).equals(before)


def test_a_run_takes_names_as_the_functions_do(evaluate):
    run = evaluate()
    assert run.by("background").equals(run.by(["background"]))
    other = "far: background=grass - background!=grass within all"
    for text in ("drop", other):
        contrast = run.contrast(text)
        assert run.contrast(contrast) == contrast
        assert run.estimates(text).equals(run.estimates(contrast))
    with pytest.raises(UsageError, match="There is no contrast 'place'"):
        run.estimates("place")


def test_the_command_of_a_trial_has_its_limit(evaluate):
    assert "--limit 4 " in repeat_command(evaluate("trial", limit=4))
    assert "--limit" not in repeat_command(evaluate())


@pytest.mark.parametrize("columns", [[], ["background", "background"]])
def test_a_breakdown_by_no_column_is_no_damage(columns, evaluate):
    with pytest.raises(UsageError, match="by one column or several, each named once"):
        evaluate().by(columns)


def test_equal_runs_are_equal_wherever_they_are(evaluate, tmp_path):
    run = evaluate()
    copy = cg.open_run(shutil.copytree(run.path, tmp_path / "copy"))
    assert run == cg.open_run(run.path) == copy
    assert len({run, copy, cg.open_run(run.path)}) == 1
    changed = replace(run, predictions=run.predictions.head(3))
    assert run not in (changed, evaluate("other", turns=(2,)), str(run.path), None)


def test_results_with_tables_can_be_compared(evaluate):
    run = evaluate()
    for make in (cg.compare, lambda run: cg.plan(run, drop=0.05), cg.format_scores):
        result = make(run)
        assert result == result
        assert result != make(run)
        assert len({result, make(run)}) == 2


def test_a_tilde_is_the_home_folder_as_pages_write_it(tmp_path, monkeypatch):
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    save_animals(tmp_path / "home/photos")
    cg.evaluate("~/photos", "colour_model:brightness", out="~/run", label_space="benchmark", report=False)
    cg.evaluate(Path("~/photos"), "colour_model:brightness", out=Path("~/again"), label_space="benchmark")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["home"]
    assert cg.open_run("~/run") == cg.open_run(tmp_path / "home/run")
    assert cg.scores(["~/run", "~/again"])["run"].n_unique() == 2
    cg.report("~/run", "~/page.html")
    assert (tmp_path / "home/page.html").is_file()


def test_a_path_or_a_device_is_as_good_as_its_text(evaluate, tmp_path):
    (tmp_path / "prompts.txt").write_text("a {}\n")
    (tmp_path / "names.txt").write_text("\n".join(sorted(NAMES)))
    files = {"prompts": tmp_path / "prompts.txt", "label_space": tmp_path / "names.txt"}
    run = evaluate(**{**files, "device": torch.device("cpu")})
    assert run.predictions.equals(
        evaluate("texts", **{name: str(file) for name, file in files.items()}).predictions
    )
    with pytest.raises(UsageError, match=r"^names must be .*, not 3"):
        evaluate("other", names=3)
    with pytest.raises(UsageError, match=r"^device must be .*, not 0"):
        evaluate("other", device=0)


def test_the_import_loads_nothing_heavy():
    code = "import sys, counterground; print(*{'torch', 'polars', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
