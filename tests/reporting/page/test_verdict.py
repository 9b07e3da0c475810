"""The verdict is no stronger than the tests."""

from dataclasses import replace

import polars as pl
import pytest

from counterground.comparison import full_comparison
from counterground.decision import plan_photos
from counterground.photos import Discovered
from counterground.results import regroup
from counterground.text import percent


@pytest.fixture
def verdict_of(section_of):
    return lambda *runs: section_of(*runs).verdict


def models_of(run):
    return regroup(run.estimates())


ENOUGH = "Are there enough photos?"


def number(text):
    return int(text.replace(",", ""))


def answers(verdict):
    return {answer.question: f"{answer.answer} {answer.reason}" for answer in verdict.answers}


def test_a_drop_that_stands_out_leads(make_run, verdict_of):
    verdict = verdict_of(make_run({"a": (0.9, 0.2), "b": (0.9, 0.88)}, per_group=60))
    assert verdict.lead == "a"
    assert verdict.sentence.startswith("The largest measured drop is that of a: it loses ")
    told = answers(verdict)
    assert told["Is a less accurate on counter photos than on common photos?"].startswith(
        "Yes. The 95 % interval of its drop is ["
    )
    assert told["More than the other models?"].startswith("Yes. ")
    assert "not tested" not in told["More than the other models?"]
    assert "Holm-corrected over 4 tests" in told["More than the other models?"]


def test_drops_that_cannot_be_told_apart_are_no_ranking(make_run, verdict_of):
    verdict = verdict_of(make_run({"a": (0.8, 0.5), "b": (0.8, 0.5), "c": (0.8, 0.52)}))
    assert verdict.sentence.startswith("The largest measured drop is that of a: it loses ")
    assert verdict.sentence.endswith(" b, c may have as large a drop.")
    said = answers(verdict)["More than the other models?"]
    assert said.startswith("Inconclusive. ")
    assert "larger" not in said


def chosen(run, referee, split):
    """The run on a benchmark whose pairs ``referee`` chose."""
    how = Discovered(referee, split, 5.0, "stamps@0", "stamps")
    benchmark = run.info.benchmark.model_copy(update=vars(how))
    return replace(run, info=run.info.model_copy(update={"benchmark": benchmark}))


RELIES = "Is a less accurate on counter photos than on common photos?"


@pytest.mark.parametrize(
    ("referee", "split", "relies", "more", "sentence"),
    [
        (
            "a",
            "none",
            "Not established. ",
            "Not comparable. ",
            "It chose the pairs on these same photos, which infl",
        ),
        ("b", "none", "Not certain. ", "Perhaps. ", "The pairs were chosen on these same photos"),
        (
            "a",
            "swap",
            "Not established here. ",
            "Not comparable. ",
            "It chose the pairs of each half of these photos",
        ),
        ("b", "swap", "Yes. ", "Yes. ", ""),
        ("a", "half", "Yes. ", "Yes. ", ""),
    ],
)
def test_a_drop_on_the_photos_that_chose_the_pairs_is_not_shown(
    make_run, verdict_of, referee, split, relies, more, sentence
):
    run = make_run({"a": (0.9, 0.2), "b": (0.9, 0.88)}, per_group=60)
    for runs in ([run], [make_run({"a": (0.9, 0.2)}, per_group=60)]):
        if referee == "b" and len(runs[0].info.models) == 1:
            continue
        verdict = verdict_of(*(chosen(each, referee, split) for each in runs))
        told = answers(verdict)
        assert told[RELIES].startswith(relies)
        assert sentence in told[RELIES]
        assert sentence in verdict.sentence
        is_biased = bool(sentence)
        assert told["What to do next?"].startswith("Measure it on other photos.") == is_biased
    verdict = verdict_of(chosen(run, referee, split))
    assert answers(verdict)["More than the other models?"].startswith(more)


def test_a_larger_drop_from_another_accuracy_is_not_more_reliance(make_run, verdict_of):
    verdict = verdict_of(make_run({"weak": (0.7, 0.3), "strong": (0.97, 0.9)}, per_group=60))
    assert "compare effective robustness, too" in answers(verdict)["More than the other models?"]
    assert "relies" not in verdict.sentence


def test_some_told_apart_and_some_not(make_run, verdict_of):
    run = make_run({"a": (0.9, 0.3), "b": (0.9, 0.3), "c": (0.9, 0.89)}, per_group=60)
    verdict = verdict_of(run)
    assert verdict.sentence.startswith("The largest measured drop is that of b: it loses")
    assert verdict.sentence.endswith("a may have as large a drop.")
    assert (
        "larger than that of c; not significantly different from that of a"
        in answers(verdict)["More than the other models?"]
    )


def test_no_drop_shown_is_said(make_run, verdict_of):
    run = make_run({"a": (0.8, 0.7), "b": (0.8, 0.71)}, per_group=5)
    verdict = verdict_of(run)
    lead = max(models_of(run), key=lambda model: model.get("drop").value)
    assert lead.get("drop").low <= 0 < lead.get("drop").value
    assert verdict.sentence.startswith("The largest measured drop is that of")
    assert verdict.sentence.endswith("which is not clearly above 0.")


def test_the_largest_of_many_drops_is_corrected_for_their_number(make_run, verdict_of):
    """Alone the drop is significant; as the largest of twelve it may be chance."""
    alone = make_run({"a": (0.8, 0.74)}, path="alone", per_group=30)
    many = make_run({"a": (0.8, 0.74), **{f"m{k}": (0.8, 0.8) for k in range(11)}}, path="many", per_group=30)
    drop = next(model for model in models_of(many) if model.label == "a").get("drop")
    assert drop.low > 0
    assert drop.p_value < 0.05 < 12 * drop.p_value
    assert answers(verdict_of(alone))[
        "Is a less accurate on counter photos than on common photos?"
    ].startswith("Yes.")
    verdict = verdict_of(many)
    told = answers(verdict)
    assert verdict.lead == "a"
    assert told["Is a less accurate on counter photos than on common photos?"].startswith(
        "No clear evidence. The 95 % interval of its drop"
    )
    assert (
        "Holm-corrected over 12 models" in told["Is a less accurate on counter photos than on common photos?"]
    )
    assert verdict.sentence.endswith("which is not clearly above 0.")
    assert told["Are there enough photos?"].startswith("Too few to be sure.")
    assert told["What to do next?"].startswith("Add photos.")


def test_the_drop_over_other_classes_is_said_with_what_intervals_are_about(make_run, verdict_of):
    run = make_run({"a": (0.9, 0.3)}, per_group=60)
    drop = models_of(run)[0].get("drop")
    assert drop.classes_high - drop.classes_low >= drop.high - drop.low
    told = answers(verdict_of(run))["For other classes chosen like these"]
    assert told.startswith(
        f"{drop.classes_interval}. The 95 % interval of a’s drop if these classes are a random"
    )
    assert "other photos of the same classes and pairs" in told


def test_a_gain_is_no_loss(make_run, verdict_of):
    verdict = verdict_of(make_run({"a": (0.3, 0.9), "b": (0.3, 0.95)}, per_group=40))
    assert verdict.sentence.endswith(": a gain.")
    told = answers(verdict)
    assert told[RELIES].startswith("The other way round. The 95 % interval of its drop is [")
    assert "More than the other models?" not in told
    assert told["Are there enough photos?"].startswith("Yes, for a difference this large.")
    assert told["What to do next?"].startswith("Check which side should be harder.")


def test_a_gain_of_one_of_many_models_is_corrected_for_their_number(make_run, verdict_of):
    three = ["x", "y", "z"]
    sure = make_run({"a": (0.74, 0.84)}, path="sure", classes=three, per_group=80)
    wide = make_run({f"m{k}": (0.3, 0.7) for k in range(11)}, path="wide", classes=three, per_group=2)
    verdict = verdict_of(sure, wide)
    (a,) = models_of(sure)
    assert a.get("drop").high < 0
    assert verdict.lead == "a"
    told = answers(verdict)["Is a less accurate on counter photos than on common photos?"]
    assert told.startswith("No clear evidence. The 95 % interval of its drop")
    assert "Holm-corrected over 8 models" in told  # 4 are near chance


def test_one_model_is_told_alone(make_run, verdict_of):
    verdict = verdict_of(make_run({"a": (0.9, 0.3)}))
    assert verdict.sentence.startswith("a loses")
    assert "More than the other models?" not in answers(verdict)


def test_without_groups_the_accuracy_is_said_and_how_to_measure_a_drop(make_run, verdict_of):
    run = make_run({"a": (0.9, 0.3)}, groups=False)
    verdict = verdict_of(run)
    assert verdict.lead is None
    accuracy = models_of(run)[0].get("plain_accuracy")
    assert verdict.sentence == (
        f"Highest measured accuracy: a, {accuracy.text} % {accuracy.interval}. No drop can be measured: no "
        "class has both common and counter photos."
    )
    assert "counterground discover" in answers(verdict)["What to do next?"]
    two = verdict_of(make_run({"a": (0.2, 0.3), "b": (0.8, 0.7)}, groups=False))
    assert two.sentence.startswith("Highest measured accuracy: b, ")


def test_where_each_class_has_one_group_the_other_is_missing(make_run, section_of):
    one_sided = {0: "common", 1: "counter"}
    found = section_of(make_run({"a": (0.9, 0.3), "b": (0.8, 0.4)}, classes=["x", "y"], lacking=one_sided))
    assert found.verdict.lead is None
    (pair,) = found.comparisons.pairs
    assert pair.drop.difference.value is None
    assert pair.figures.n == found.photos == 40


def test_a_model_near_chance_is_not_said_to_drop_least(make_run, verdict_of):
    """At 2 % of 1000 names nothing can be lost, so the smallest drop would be praised."""
    run = make_run({"a": (0.9, 0.5), "b": (0.9, 0.6), "guess": (0.0, 0.0)}, per_group=40)
    guess = models_of(run)[2]
    assert guess.get("drop").value < models_of(run)[1].get("drop").value
    verdict = verdict_of(run)
    told = answers(verdict)
    assert "guess" not in told["More than the other models?"]
    assert told["Left out"] == (
        "guess. Accuracy on common photos is not clearly above chance, so a small drop says nothing."
    )


def test_where_all_models_guess_no_drop_is_judged(make_run, verdict_of):
    verdict = verdict_of(make_run({"guess": (0.0, 0.0)}, per_group=40))
    assert verdict.lead is None
    assert (
        verdict.sentence == "No drop can be judged: no model is clearly better than guessing on these photos."
    )
    assert [answer.question for answer in verdict.answers] == ["Left out", "What to do next?"]
    assert "--label-space benchmark" in answers(verdict)["What to do next?"]


def test_whether_photos_suffice_is_said_in_sizes_of_drops(make_run, verdict_of):
    run = make_run({"a": (0.9, 0.8)}, classes=["x", "y", "z"], per_group=10)
    assert models_of(run)[0].get("drop").low <= 0
    told = answers(verdict_of(run))
    assert told["Are there enough photos?"].startswith(
        "Too few to be sure. 60 photos in 20 clusters: a drop of at least "
    )
    assert told["What to do next?"].startswith("Add photos. Do not conclude that models do equally well")
    many = answers(verdict_of(make_run({"a": (0.9, 0.2), "b": (0.9, 0.5)}, per_group=300)))
    assert many["Are there enough photos?"].startswith("Yes. 5,400 photos in ")


def said_as_planned(run, told, noun="drop", row=0):
    """Check that the answer has the power, the smallest drop and the photos that `plan` prints."""
    plan = plan_photos(run, 0.05).rows.row(row, named=True)
    least = plan["smallest_drop_now"]
    shown = f"no {noun}" if least is None else f"a {noun} of at least {percent(least)} points"
    assert f": {shown} is detected with power 80 %" in told
    enough = plan["photos"] <= plan["photos_now"]
    rest = (
        f"A {noun} of 5 points is detected with power {percent(plan['power_now'])} % now and needs about "
        f"{plan['photos']:,} "
    )
    assert (rest in told) == (not enough)
    return plan


@pytest.mark.parametrize("right", [(1.0, 0.97), (0.99, 0.94), (0.8, 0.6), (0.6, 0.6)])
def test_report_and_plan_agree_about_photos(make_run, verdict_of, right):
    run = make_run({"a": right}, classes=["x", "y"], per_group=30)
    told = answers(verdict_of(run))[ENOUGH]
    said_as_planned(run, told)


def test_report_and_plan_agree_about_the_largest_of_several_drops(make_run, verdict_of):
    run = make_run({"b": (0.9, 0.85), "a": (0.9, 0.7), "c": (0.8, 0.75)}, per_group=30)
    told = answers(verdict_of(run))[ENOUGH]
    said_as_planned(run, told, row=1)


def test_photos_that_suffice_in_the_plan_suffice_in_the_report(make_run, verdict_of):
    run = make_run({"a": (0.9, 0.9)}, classes=["x", "y"], per_group=300)
    rows = run.predictions.with_columns(correct=pl.int_range(pl.len()) % 100 != 0)
    run = replace(run, predictions=rows)
    plan = plan_photos(run, 0.05).rows.row(0, named=True)
    assert plan["photos"] <= plan["photos_now"]
    told = answers(verdict_of(run))
    assert told[ENOUGH].startswith("Yes. ")
    assert told["What to do next?"].startswith("Nothing: more photos of this kind would change little.")


def test_the_next_step_is_no_stronger_than_the_tests(make_run, verdict_of):
    run = make_run({"a": (0.9, 0.2), "b": (0.9, 0.88)}, per_group=60)
    assert answers(verdict_of(run))["What to do next?"].startswith("Compare accuracy on counter photos.")
    tied = answers(verdict_of(make_run({"a": (0.8, 0.5), "b": (0.8, 0.5)}, per_group=60)))
    assert "Do not choose" in tied["What to do next?"]


def test_of_many_models_the_page_shows_the_pairs_of_the_lead_corrected_for_all_pairs(make_run, section_of):
    run = make_run({f"m{k}": (0.8, 0.6 - 0.04 * k) for k in range(8)}, per_group=40)
    found = section_of(run)
    lead = max(models_of(run), key=lambda model: model.get("drop").value).label
    assert {pair.against for pair in found.comparisons.shown} == {lead}
    assert found.comparisons.corrected_for == f"{4 * 8 * 7 // 2} tests"
    tests = full_comparison([run]).tests.filter(metric="drop")
    expected = {frozenset((row["model_a"], row["model_b"])): row for row in tests.iter_rows(named=True)}
    for pair in found.comparisons.shown:
        row = expected[frozenset((pair.model, lead))]
        assert pair.drop.p_holm == row["p_holm"]
        sign = 1 if row["model_a"] == pair.model else -1
        assert pair.drop.difference.value == pytest.approx(sign * row["difference"])
        assert pair.drop.difference.low <= pair.drop.difference.value <= pair.drop.difference.high


def test_models_of_other_names_are_no_tests_that_p_is_corrected_for(make_run, section_of):
    """Three models among 1,000 names have 12 tests, the two others among 20 names 4."""
    many = make_run({"a": (0.9, 0.85), "b": (0.9, 0.8), "c": (0.9, 0.8)}, path="many")
    few = make_run({"d": (0.9, 0.4), "e": (0.9, 0.75)}, path="few", label_space="few")
    space = few.info.candidates.model_copy(update={"name": "few", "size": 20})
    few = replace(few, info=few.info.model_copy(update={"candidates": space}))
    found = section_of(many, few)
    said = answers(found.verdict)["More than the other models?"]
    assert said.startswith("In part. Its drop is significantly larger than that of e; ")  # one of four others
    assert "Holm-corrected over 4 tests" in said
    assert found.comparisons.corrected_for == "4 or 12 tests"
    assert {pair.corrected_for for pair in found.comparisons.pairs if pair.model in "abc"} == {12}
    tables = {table.title: table for table in full_comparison([many, few]).tables}
    (note,) = next(table.notes for title, table in tables.items() if title.startswith("Paired differences"))
    assert note.endswith("Each benchmark and label space is corrected separately.")


def test_other_photos_are_no_test(make_run, verdict_of):
    whole = make_run({"a": (0.9, 0.2)}, path="one")
    part = make_run({"b": (0.8, 0.5)}, path="two", lacking={0: "counter"})
    told = answers(verdict_of(whole, part))
    assert told["More than the other models?"].startswith("Not tested.")
    assert told["What to do next?"].startswith("Decide on other grounds, or add photos. Do not")


def test_classifiers_are_tested_though_runs_with_other_names_repeat_one(make_run, section_of):
    """A classifier reads no names, so the page has one row for what both runs hold."""
    first, both = make_run({"a": (0.9, 0.3)}, path="first"), make_run({"a": (0.9, 0.3), "b": (0.9, 0.8)})
    rows = both.predictions.with_columns(names=pl.lit("wordnet"))
    info = both.info.model_copy(update={"names": "wordnet"})
    other = replace(both, info=info, predictions=rows)
    for runs in ((first, other), (other, first)):
        found = section_of(*runs)
        assert [row.model.label for row in found.rows] == ["a", "b"]
        assert answers(found.verdict)["More than the other models?"].startswith("Yes.")
        (pair,) = found.comparisons.pairs
        (row,) = full_comparison(runs).tests.filter(metric="drop").rows(named=True)
        assert (pair.model, pair.drop.difference.value) == (row["model_a"], row["difference"])
