"""Verdicts on models: by the whole interval, with one error for all of them, and readable by CI."""

import json
from dataclasses import replace
from xml.etree import ElementTree

import made_runs
import numpy as np
import polars as pl
import pytest
from scipy.stats import chi2, norm

import counterground as cg
from counterground.catalogue import Finding
from counterground.cli import main
from counterground.errors import UsageError
from counterground.metrics import ALPHA, drop_interval, score_predictions
from counterground.photos import Discovered

LEVELS = {"sure": (0.9, 0.85), "leans": (0.9, 0.4), "between": (0.9, 0.78)}


@pytest.fixture(scope="module")
def run(make_run):
    return make_run(LEVELS, per_group=80)


@pytest.fixture(scope="module")
def folders(make_run, tmp_path_factory):
    """Run folders: of all three models, and of each of them."""
    root = tmp_path_factory.mktemp("runs")
    for name, levels in (("all", LEVELS), *((name, {name: level}) for name, level in LEVELS.items())):
        made_runs.write_run(make_run(levels, per_group=80), root / name)
    return root


def verdicts(check):
    return {finding.model: finding.verdict for finding in check.verdicts}


def drops(run, alpha=ALPHA):
    scores = score_predictions(run.predictions, by_class=False, alpha=alpha)
    return scores.filter(pl.col("metric") == "drop")


def test_a_limit_is_kept_or_broken_by_the_whole_interval(run):
    found = cg.check(run, max_drop=0.15)
    assert verdicts(found) == {"sure": "pass", "leans": "fail", "between": "undecided"}
    assert found.verdict == "fail"
    for finding in found.verdicts:
        inside = finding.low <= 0.15 <= finding.high
        assert inside == (finding.verdict == "undecided")


def test_intervals_share_the_error_over_models_and_limits(run):
    for given, statements in (({"max_drop": 0.15}, 3), ({"max_drop": 0.15, "min_accuracy": 0.6}, 6)):
        found = cg.check(run, **given)
        shared = drops(run, ALPHA / statements)
        held = [(each.low, each.high) for each in found.verdicts if each.check.startswith("drop")]
        assert held == list(shared.select("low", "high").iter_rows())
    alone = cg.check(run, max_drop=0.15, models=["between"])
    (scored,) = drops(run).filter(pl.col("model") == "between").iter_rows(named=True)
    assert (alone.verdicts[0].low, alone.verdicts[0].high) == (scored["low"], scored["high"])


@pytest.mark.parametrize(
    ("models", "verdict", "status"),
    [(["sure"], "pass", 0), (["leans"], "fail", 3), (["between"], "undecided", 4), ([], "fail", 3)],
)
def test_the_verdict_is_the_exit_status(models, verdict, status, folders, capsys):
    words = [word for model in models for word in ("-m", model)]
    assert main(["check", str(folders / "all"), "--max-drop", "15%", "--format", "json", *words]) == status
    assert json.loads(capsys.readouterr().out)["verdict"] == verdict


def test_an_undecided_model_is_told_how_many_photos_would_decide(run):
    (finding,) = cg.check(run, max_drop=0.15, models=["between"]).verdicts
    assert finding.reasons == ("contains_limit", "more_photos")
    assert finding.needed > finding.photos == 1440


def test_accuracy_has_a_limit_too(run):
    found = cg.check(run, min_accuracy=0.75)
    assert verdicts(found) == {"sure": "pass", "leans": "fail", "between": "pass"}
    assert {(finding.check, finding.limit) for finding in found.verdicts} == {("accuracy", 0.75)}


def test_without_an_interval_none_is_said_to_contain_the_limit(make_run):
    run = make_run({"a": (0.9, 0.8)})
    rows = run.predictions.with_columns(cluster=pl.lit("one"))
    alone = replace(run, predictions=rows)
    for each in (alone, chosen(alone, replace(CHOSEN, referee="a"))):
        found = cg.check(each, max_drop=0.15, min_accuracy=0.6).verdicts
        assert [each.low for each in found] == [None, None]
        assert [each.reasons for each in found] == [("no_interval",)] * 2


def test_a_model_near_chance_does_not_pass(make_run):
    guesses = make_run({"guesses": (0.02, 0.02)}, per_group=80)
    (finding,) = cg.check(guesses, max_drop=0.15).verdicts
    assert finding.high < 0.15
    assert finding.verdict == "undecided"
    assert finding.reasons == ("near_chance",)


def test_not_worse_is_a_paired_test_with_a_margin(folders):
    assert cg.check(folders / "sure", baseline=folders / "leans").verdict == "pass"
    assert cg.check(folders / "leans", baseline=folders / "sure", margin=0.1).verdict == "fail"
    same = cg.check(folders / "sure", baseline=folders / "all", margin=0.02).verdicts[0]
    assert (same.value, same.verdict) == (0.0, "pass")
    assert (same.check, same.limit, same.versus) == ("drop", 0.02, f"sure in {folders / 'all'}")


def answers_of(rows, wrong):
    """The same predictions with wrong answers to the first counter photos only."""
    first = pl.int_range(pl.len()).over("group") < wrong
    return rows.with_columns(correct=~(first & (pl.col("group") == "counter")))


@pytest.fixture(scope="module")
def nearly_equal(make_run):
    """A run, and runs of the same model that is wrong on some more of 400 photos, all of them counter."""
    base = make_run({"same": (1.0, 1.0)}, classes=["goose"], per_group=200)
    rows = answers_of(base.predictions.with_columns(cluster=pl.lit(None, pl.String)), 0)
    base = replace(base, predictions=rows)
    worse = {}
    for wrong in (1, 12):
        rows = answers_of(base.predictions, wrong)
        worse[wrong] = replace(base, predictions=rows)
    return base, worse


def test_a_few_photos_on_which_models_differ_do_not_show_that_none_is_worse(nearly_equal):
    """If 4 of 200 counter photos are expected to be lost, at most 1 is in 9 % of samples."""
    base, worse = nearly_equal
    (found,) = cg.check(worse[1], baseline=base, margin=0.02).verdicts
    assert found.value == pytest.approx(1 / 200)
    assert found.verdict == "undecided"
    assert found.high > 0.02 > 1.98 * found.value  # estimate + t x standard error, which is the estimate
    assert cg.check(worse[12], baseline=base, margin=0.02).verdicts[0].verdict == "fail"


def test_compare_has_the_interval_that_decides(nearly_equal, tmp_path):
    """With t x standard error it would lie below a margin about which `check` cannot decide."""
    base, worse = nearly_equal
    runs = [replace(run, path=tmp_path / name) for name, run in (("worse", worse[1]), ("base", base))]
    (found,) = cg.check(runs[0], baseline=runs[1], margin=0.02).verdicts
    drop = cg.compare(runs, published=False).tests.row(by_predicate=pl.col("metric") == "drop", named=True)
    assert (drop["source"], drop["versus_source"]) == ("worse", "base")
    assert (drop["value"], drop["low"], drop["high"]) == (found.value, found.low, found.high)
    assert found.low < 0 < 0.02 < found.high
    turned = cg.compare(runs[::-1], published=False).tests.filter(metric="drop").row(0, named=True)
    assert (turned["low"], turned["high"]) == pytest.approx((-found.high, -found.low))


def test_advice_counts_what_few_differing_photos_add_to_the_interval(nearly_equal):
    base, worse = nearly_equal
    (found,) = cg.check(worse[1], baseline=base, margin=0.02).verdicts
    advised = found.needed
    # As many photos lose as many answers in proportion: Poisson's exact limit decides with that number.
    assert chi2.ppf(0.975, 2 * (1 * advised / 400 + 1)) / 2 / (advised / 2) < 0.02


@pytest.mark.parametrize(
    ("common", "counter", "limit"),
    [(0.99, 0.97, 0.05), (0.99, 0.95, 0.1), (0.99, 0.9, 0.05), (0.8, 0.7, 0.2)],
)
def test_as_many_photos_as_advised_decide_as_often_as_promised(common, counter, limit, make_run):
    """Near 100 % too, where intervals of a drop reach farther up than down."""
    run = make_run({"m": (common, counter)}, classes=made_runs.ANIMALS[:5], per_group=20)
    ordinal = pl.int_range(pl.len()).over("group")
    right = pl.when(group="common").then(round(100 * common)).otherwise(round(100 * counter))
    rows = run.predictions.with_columns(correct=ordinal * 77 % 100 < right, cluster=pl.lit(None, pl.String))
    run = replace(run, predictions=rows)
    (found,) = cg.check(run, max_drop=limit).verdicts
    assert (found.value, found.verdict) == (pytest.approx(common - counter), "undecided")
    advised = found.needed
    cell = round(advised / 10)
    group = np.tile(np.repeat(["common", "counter"], cell), 5)
    class_index, rng, decided = np.repeat(np.arange(5), 2 * cell), np.random.default_rng(0), 0
    for _ in range(300):
        correct = rng.random(len(group)) < np.where(group == "common", common, counter)
        drop = drop_interval(correct, class_index, group)
        decided += drop.high <= limit or drop.low > limit
    assert 0.75 < decided / 300 < 0.93


def test_a_difference_that_is_the_margin_is_said_to_be_it(folders):
    (found,) = cg.check(folders / "sure", baseline=folders / "sure", margin=0).verdicts
    assert (found.value, found.verdict) == (0.0, "undecided")
    assert found.reasons == ("contains_limit",)


def test_a_base_on_other_photos_is_refused(folders, make_run):
    fewer = make_run({"sure": (0.9, 0.85)}, per_group=70)
    with pytest.raises(UsageError, match="first alone saw 180 photos"):
        cg.check(folders / "sure", baseline=fewer)


def test_a_base_with_other_names_under_the_same_label_space_is_refused(run):
    """As after a change of the file that --label-space names, or with another set of confusable names."""
    space = run.info.candidates.model_copy(update={"version": "another"})
    base = replace(run, info=run.info.model_copy(update={"candidates": space}))
    with pytest.raises(UsageError, match="has other names than that of"):
        cg.check(run, baseline=base)


def test_a_base_must_name_the_model_to_compare_with(folders, make_run):
    other = make_run({"new": (0.9, 0.85)}, per_group=80)
    with pytest.raises(UsageError, match=r"it holds sure, leans, between"):
        cg.check(other, baseline=folders / "all")
    elsewhere = make_run({"new": (0.9, 0.85)}, per_group=80, label_space="benchmark")
    with pytest.raises(UsageError, match=r"it holds sure\."):
        cg.check(elsewhere, baseline=folders / "sure")


@pytest.mark.slow
def test_the_corrected_verdicts_of_many_models_are_rarely_wrong(make_run):
    """All drops are at the limit, so each pass and each fail is wrong."""
    levels = {f"model {place}": (0.8, 0.7) for place in range(8)}
    run = make_run(levels, classes=["a", "b"], per_group=100)
    level = pl.when(pl.col("group") == "common").then(0.8).otherwise(0.7)
    wrong = 0
    for seed in range(15):
        draw = np.random.default_rng(seed).random(len(run.predictions))
        drawn = run.predictions.with_columns(
            correct=pl.Series(draw) < level, cluster=pl.lit(None, dtype=pl.String)
        )
        found = cg.check(replace(run, predictions=drawn), max_drop=0.1)
        wrong += any(finding.verdict != "undecided" for finding in found.verdicts)
    assert wrong <= 2


CHOSEN = Discovered("leans", "none", 5.0, "stamps@0", "stamps")


def chosen(run, discovery, notes=()):
    """The run on a benchmark whose pairs ``discovery`` chose."""
    benchmark = run.info.benchmark.model_copy(update={**vars(discovery), "notes": list(notes)})
    return replace(run, info=run.info.model_copy(update={"benchmark": benchmark}))


def test_an_inflated_drop_is_no_failure_but_may_pass(run):
    found = cg.check(chosen(run, CHOSEN), max_drop=0.15)
    assert verdicts(found) == {"sure": "pass", "leans": "undecided", "between": "undecided"}
    assert found.verdicts[1].reasons == ("chose_here",)
    assert (
        cg.check(chosen(run, replace(CHOSEN, referee="sure")), max_drop=0.15, models=["sure"]).verdict
        == "pass"
    )
    held_out = cg.check(chosen(run, replace(CHOSEN, split="half")), max_drop=0.15)
    assert verdicts(held_out)["leans"] == "fail"


def test_no_model_fails_on_the_photos_that_chose_the_pairs(run):
    other = replace(CHOSEN, referee="between")
    found = cg.check(chosen(run, other), max_drop=0.15, models=["leans"])
    assert found.verdict == "undecided"
    assert found.verdicts[0].reasons == ("chosen_here",)
    for split in ("half", "cross"):
        assert (
            cg.check(chosen(run, replace(other, split=split)), max_drop=0.15, models=["leans"]).verdict
            == "fail"
        )
    of_theirs = replace(other, split="half", origin="CounterAnimal")  # whose two backgrounds were chosen
    assert cg.check(chosen(run, of_theirs), max_drop=0.15, models=["leans"]).verdict == "undecided"


def test_the_interval_of_a_swap_neither_passes_nor_fails_its_referee(run):
    for referee in ("sure", "leans"):
        swapped = chosen(run, replace(CHOSEN, referee=referee, split="cross"))
        (finding,) = cg.check(swapped, max_drop=0.15, models=[referee]).verdicts
        assert finding.verdict == "undecided"
        assert finding.reasons == ("chose_other_half",)


def test_a_referee_with_an_inflated_drop_is_no_base_to_pass_against(folders):
    base = chosen(cg.open_run(folders / "leans"), CHOSEN)
    (finding,) = cg.check(folders / "sure", baseline=base).verdicts
    assert finding.verdict == "undecided"
    assert finding.reasons == ("chose_here",)
    assert finding.findings[0].subject == f"leans in {base.path}"
    of_referee = cg.check(base, baseline=folders / "sure")
    assert of_referee.verdict == "undecided"


@pytest.mark.parametrize("referee", ["between", "sure", "leans"])
def test_on_photos_that_chose_the_pairs_no_model_passes_or_fails_against_another(folders, referee):
    """They inflate the drops of kin of the referee more than those of strangers."""
    discovery = replace(CHOSEN, referee=referee)
    for own, other in (("sure", "leans"), ("leans", "sure")):
        runs = [cg.open_run(folders / name) for name in (own, other)]
        for given in ([chosen(each, discovery) for each in runs], [runs[0], chosen(runs[1], discovery)]):
            (finding,) = cg.check(given[0], baseline=given[1], margin=0.1).verdicts
            assert finding.verdict == "undecided"
            assert set(finding.reasons) <= {"chosen_here", "chose_here", "contains_limit"}
        held_out = [chosen(each, replace(discovery, split="half")) for each in runs]
        found = cg.check(held_out[0], baseline=held_out[1], margin=0.1)
        assert found.verdict == {"sure": "pass", "leans": "fail"}[own]


def test_no_model_fails_on_the_papers_photos_which_chose_its_pairs(make_run):
    spec = "open_clip:ViT-B-32-quickgelu/laion400m_e31"
    assert cg.check(make_run({spec: (0.9, 0.4)}, per_group=40), max_drop=0.05).verdict == "fail"
    run = make_run({spec: (0.9, 0.4)}, per_group=40, name="counteranimal")
    weights = {"architecture": "ViT-B-32-quickgelu", "weights": "laion400m_e31"}
    record = run.info.models[0].model_copy(update={"description": weights})
    (finding,) = cg.check(run, max_drop=0.05).verdicts
    assert finding.verdict == "undecided"
    assert finding.reasons == ("chosen_here",)
    found = cg.check(replace(run, info=run.info.model_copy(update={"models": [record]})), max_drop=0.05)
    assert found.verdict == "undecided"
    assert found.verdicts[0].reasons == ("chose_here",)


@pytest.mark.parametrize("style", ["table", "markdown", "json"])
def test_what_cannot_be_decided_on_the_papers_photos_comes_first(make_run, tmp_path, capsys, style):
    limits = Finding("check_limits", "", {"noun": "drop"})
    run = make_run({"a": (0.9, 0.4)}, per_group=40, name="counteranimal")
    command = ["check", str(made_runs.write_run(run, tmp_path / "run")), "--format", style]
    assert main([*command, "--max-drop", "5%", "--min-accuracy", "90%"]) == 3
    shown = capsys.readouterr().out
    if style == "json":
        assert json.loads(shown)["findings"][0]["code"] == "check_limits"
    else:
        assert " ".join(shown.split()).startswith(f"Warning: {limits.text}")
        assert " ".join(shown.split()).count(limits.text) == 1
    other = cg.check(make_run({"a": (0.9, 0.4)}), max_drop=0.05)
    own_contrast = cg.check(run, max_drop=0.05, contrast="background=snow - background=sky within all")
    assert not any(each.code == "check_limits" for each in (*other.findings, *own_contrast.findings))


def test_photos_that_would_decide_are_for_the_corrected_interval(run):
    """Each of six verdicts needs more photos than one alone."""
    alone = cg.check(run, max_drop=0.15, models=["between"]).verdicts[0]
    shared = cg.check(run, max_drop=0.15, min_accuracy=0.5).verdicts[4]
    needed = [alone.needed, shared.needed]
    z = [norm.ppf(1 - 0.025 / statements) + norm.ppf(0.8) for statements in (1, 6)]
    assert needed[1] / needed[0] == pytest.approx((z[1] / z[0]) ** 2, rel=0.02)


# Elements and attributes of the JUnit schema that CI systems read (junit-10.xsd of Jenkins' xUnit plugin).
ATTRIBUTES = {
    "testsuites": ({"name"}, {"time", "tests", "failures", "disabled", "errors"}),
    "testsuite": (
        {"name", "tests"},
        {"failures", "errors", "time", "disabled", "skipped", "timestamp", "hostname", "id", "package"},
    ),
    "testcase": ({"name", "classname"}, {"assertions", "time", "status"}),
    "failure": (set(), {"type", "message"}),
    "error": (set(), {"type", "message"}),
    "system-out": (set(), set()),
}
CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"testcase", "system-out"},
    "testcase": {"failure", "error", "system-out"},
}


def check_schema(element):
    required, optional = ATTRIBUTES[element.tag]
    assert required <= set(element.attrib) <= required | optional
    assert {child.tag for child in element} <= CHILDREN.get(element.tag, set())
    for child in element:
        check_schema(child)


def test_junit_is_what_ci_systems_read(folders, tmp_path, capsys):
    path = tmp_path / "check.xml"
    assert main(["check", str(folders / "all"), "--max-drop", "15%", "--junit", str(path)]) == 3
    capsys.readouterr()
    root = ElementTree.parse(path).getroot()
    check_schema(root)
    (suite,) = root
    counts = {name: int(suite.get(name)) for name in ("tests", "failures", "errors", "skipped")}
    assert counts == {"tests": 3, "failures": 1, "errors": 1, "skipped": 0}
    assert [(case.get("classname"), case[0].tag) for case in suite] == [
        ("sure", "system-out"),
        ("leans", "failure"),
        ("between", "error"),
    ]
    assert all(case.get("name") == "drop at most 15 %" for case in suite)


def test_names_cannot_break_the_xml(make_run):
    run = make_run({'<x>&"\x07\u202e': (0.9, 0.4)}, per_group=40)
    root = ElementTree.fromstring(cg.check(run, max_drop=0.1).junit())
    assert root[0][0].get("classname") == '<x>&"'


def test_a_run_without_groups_has_no_drop_to_check(make_run):
    run = make_run({"a": (0.9, 0.8)}, groups=False)
    with pytest.raises(UsageError, match="no drop to check"):
        cg.check(run, max_drop=0.05)
    assert cg.check(run, min_accuracy=0.5).verdict == "pass"


def test_without_groups_a_baseline_limits_the_loss_of_accuracy(make_run):
    """The interval is that of `compare` on the same photos."""
    base, worse = (make_run({"m": (level, level)}, per_group=200, groups=False) for level in (0.9, 0.6))
    worse = replace(worse, path=worse.path / "worse")
    (judged,) = cg.check(worse, baseline=base, margin=0.02).verdicts
    assert (judged.verdict, judged.check) == ("fail", "accuracy")
    tests = cg.compare([replace(base, path=base.path / "base"), worse]).tests
    row = tests.filter(pl.col("metric") == "accuracy").row(0, named=True)
    assert sorted(map(abs, (judged.low, judged.high))) == pytest.approx(
        sorted(map(abs, (row["low"], row["high"])))
    )
    assert cg.check(base, baseline=worse, margin=0.02).verdict == "pass"
