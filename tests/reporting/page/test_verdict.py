"""The verdict is no stronger than the tests."""

import re
from dataclasses import replace

import polars as pl
import pytest

from counterground.comparison import full_comparison
from counterground.decision import plan_photos
from counterground.metrics import score_predictions
from counterground.photos import Discovered
from counterground.results import percent, regroup


@pytest.fixture
def verdict_of(section_of):
    return lambda *runs: section_of(*runs).verdict


def models_of(run):
    return regroup(run.scores)


ENOUGH = "Are there enough photos?"


def number(text):
    return int(text.replace(",", ""))


def answers(verdict):
    return {answer.question: f"{answer.answer} {answer.reason}" for answer in verdict.answers}


def test_a_drop_that_stands_out_leads(make_run, verdict_of):
    verdict = verdict_of(make_run({"a": (0.9, 0.2), "b": (0.9, 0.88)}, per_group=60))
    assert verdict.lead == "a"
    assert verdict.sentence.startswith("a has the largest drop: it loses ")
    told = answers(verdict)
    assert told["Is a less accurate on counter photos than on common photos?"].startswith(
        "Yes. Its drop is above 0 (p < 0.001, Holm-corrected over 2 models), with a 95 % interval of ["
    )
    assert told["More than the other models?"].startswith(
        "Yes. Its drop is significantly larger than that of"
    )
    assert "< 0.001, Holm-corrected over 4 tests" in told["More than the other models?"]


def test_drops_that_cannot_be_told_apart_are_no_ranking(make_run, verdict_of):
    verdict = verdict_of(make_run({"a": (0.8, 0.5), "b": (0.8, 0.5), "c": (0.8, 0.52)}))
    assert verdict.sentence.startswith(
        "It is not clear which model has the largest drop. The largest measured drop is that of a: it loses "
    )
    assert answers(verdict)["More than the other models?"].startswith("Inconclusive. Its drop is not signif")


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
        assert not is_biased or "has the largest" not in verdict.sentence
        assert told["What to do next?"].startswith("Measure it on other photos.") == is_biased
    verdict = verdict_of(chosen(run, referee, split))
    assert answers(verdict)["More than the other models?"].startswith(more)
    own = "It chose these pairs, on other photos: they reflect its own weaknesses."
    assert (own in answers(verdict)[RELIES]) == (split == "half")


def test_a_larger_drop_from_another_accuracy_is_not_more_reliance(make_run, verdict_of):
    verdict = verdict_of(make_run({"weak": (0.7, 0.3), "strong": (0.97, 0.9)}, per_group=60))
    more = answers(verdict)["More than the other models?"]
    assert more.startswith("Yes. Its drop is significantly larger")
    assert "and the accuracy of strong on common photos is clearly different" in more
    assert "relies most" not in verdict.sentence


def test_some_told_apart_and_some_not(make_run, verdict_of):
    run = make_run({"a": (0.9, 0.3), "b": (0.9, 0.3), "c": (0.9, 0.89)}, per_group=60)
    verdict = verdict_of(run)
    assert verdict.sentence.startswith("The largest measured drop is that of b: it loses")
    assert verdict.sentence.endswith("a may have as large a drop.")
    assert "more than c; not significantly different from" in answers(verdict)["More than the other models?"]


def test_no_drop_shown_is_said(make_run, verdict_of):
    run = make_run({"a": (0.8, 0.7), "b": (0.8, 0.71)}, per_group=5)
    verdict = verdict_of(run)
    lead = max(models_of(run), key=lambda model: model.get("drop").value)
    assert lead.get("drop").low <= 0 < lead.get("drop").value
    assert verdict.sentence.startswith(
        "There is no clear evidence that any model is less accurate on counter photos than on common "
        "photos. The largest drop is that of"
    )


def test_a_model_whose_drop_is_shown_is_named_though_another_has_a_larger_one(make_run, verdict_of):
    wide = make_run({"a": (0.9, 0.55)}, path="one", classes=["x", "y", "z"], per_group=2)
    sure = make_run({"b": (0.9, 0.8)}, path="two", per_group=80, classes=["x", "y", "z"])
    (a,), (b,) = models_of(wide), models_of(sure)
    assert a.get("drop").value > b.get("drop").value
    assert a.get("drop").low <= 0 < b.get("drop").low
    verdict = verdict_of(wide, sure)
    assert verdict.lead == "a"
    assert verdict.sentence.startswith(
        "There is clear evidence that b is less accurate on counter photos than on common photos: its "
        f"drop is {b.get('drop').text} points"
    )
    assert "The largest drop is that of a" in verdict.sentence


def test_the_least_is_told_apart_or_not(make_run, verdict_of):
    near = answers(verdict_of(make_run({"a": (0.9, 0.3), "b": (0.9, 0.31), "c": (0.9, 0.32)}, per_group=60)))
    assert near["Smallest measured drop"].endswith(" are not significantly different from it.")
    far = answers(verdict_of(make_run({"a": (0.9, 0.2), "b": (0.9, 0.88)}, per_group=60)))
    assert far["Smallest measured drop"].startswith("b: ")
    assert "significantly" not in far["Smallest measured drop"]


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
    assert verdict.sentence.startswith(
        "There is no clear evidence that any model is less accurate on counter photos than on common photos."
    )
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
    assert verdict.sentence.startswith("No model lost accuracy from common to counter photos")
    told = answers(verdict)
    assert told["Is a less accurate on counter photos than on common photos?"].startswith(
        "The other way round. Its drop is below 0 (p < 0.001, Holm-corrected over 2 models), with a 95 % "
    )
    assert told["Is a less accurate on counter photos than on common photos?"].endswith(
        "it is more accurate on counter photos."
    )
    assert "More than the other models?" not in told
    assert told["Smallest measured drop"].startswith("b: −")
    assert told["Are there enough photos?"].startswith("Yes, for a difference this large.")
    assert told["What to do next?"].startswith("Check which backgrounds are common and which counter.")


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
    assert "lies below 0, but that of one of 8 drops may do so by chance (p = " in told  # 4 are near chance


def test_one_model_is_told_alone(make_run, verdict_of):
    verdict = verdict_of(make_run({"a": (0.9, 0.3)}))
    assert verdict.sentence.startswith("a loses")
    assert "More than the other models?" not in answers(verdict)
    assert "inflated" not in str(answers(verdict))


def test_without_groups_the_accuracy_is_said_and_how_to_measure_a_drop(make_run, verdict_of):
    run = make_run({"a": (0.9, 0.3)}, groups=False)
    verdict = verdict_of(run)
    assert verdict.lead is None
    accuracy = models_of(run)[0].get("plain_accuracy")
    assert verdict.sentence == (
        f"a: accuracy {accuracy.text} % {accuracy.interval}. No drop can be measured: no class has both "
        "common and counter photos."
    )
    assert answers(verdict)["What to do next?"].startswith(
        "Choose pairs of backgrounds. Run counterground discover: it chooses"
    )
    two = verdict_of(make_run({"a": (0.2, 0.3), "b": (0.8, 0.7)}, groups=False))
    assert two.sentence.startswith("Highest measured accuracy: b, ")
    bare = run.predictions.with_columns(background=pl.lit(None, pl.String))
    told = answers(verdict_of(replace(run, predictions=bare)))
    assert told["What to do next?"].startswith("Name the backgrounds. Sort the photos into folders")


def test_where_each_class_has_one_group_the_other_is_missing(make_run, section_of):
    one_sided = {0: "common", 1: "counter"}
    found = section_of(make_run({"a": (0.9, 0.3), "b": (0.8, 0.4)}, classes=["x", "y"], lacking=one_sided))
    assert answers(found.verdict)["What to do next?"].startswith("Add photos of the missing group.")
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
    assert told["Smallest measured drop"].startswith("b: ")
    assert "guess" not in told["More than the other models?"] + told["Smallest measured drop"]
    level = guess.get("accuracy", "common").text
    assert told["Left out"] == (
        f"guess: {level} % on common photos is not clearly above chance, so a small drop says nothing."
    )
    guesses = make_run({f"guess {k}": (0.0, 0.0) for k in range(4)})
    right = (pl.col("model") == "guess 3") & (pl.col("path") == "0/common/0.jpg")
    wrong = guesses.predictions.with_columns(correct=right)
    told = answers(verdict_of(replace(guesses, predictions=wrong, scores=score_predictions(wrong))))
    assert told["Left out"].startswith("4 models: 0.0 to 0.6 % on common photos is not clearly above chance")


def test_a_model_near_chance_is_named_where_its_drop_may_be_larger(make_run, section_of):
    section = section_of(make_run({"good": (0.8, 0.86), "fair": (0.7, 0.76), "guess": (0.04, 0.02)}))
    drops = {row.model.label: row.model.get("drop").value for row in section.rows}
    assert drops["guess"] > 0 > max(drops["good"], drops["fair"])
    sentence = section.verdict.sentence
    assert sentence.startswith("No model clearly above chance lost accuracy from common to counter photos")
    assert sentence.endswith("Left out, near chance: guess.")


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
        "Too few to be sure. 60 photos in 20 clusters (those of one cluster are not independent): a drop of "
        "at least "
    )
    assert told["What to do next?"].startswith("Add photos. Do not conclude that a ignores the background:")
    both = answers(verdict_of(make_run({"a": (0.9, 0.8), "b": (0.9, 0.8)}, classes=["x", "y"], per_group=5)))
    assert "Do not conclude that the models ignore the background:" in both["What to do next?"]
    many = answers(verdict_of(make_run({"a": (0.9, 0.2), "b": (0.9, 0.5)}, per_group=300)))
    assert many["Are there enough photos?"].startswith("Yes. 5,400 photos in ")
    assert re.search(r", and a difference of at least \S+ points between .* and that of b\.$", many[ENOUGH])


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
    plan = said_as_planned(run, told)
    assert f" {plan['photos']:,} photos in {plan['clusters']:,} clusters" in told


def test_report_and_plan_agree_about_the_largest_of_several_drops(make_run, verdict_of):
    run = make_run({"b": (0.9, 0.85), "a": (0.9, 0.7), "c": (0.8, 0.75)}, per_group=30)
    told = answers(verdict_of(run))[ENOUGH]
    plan = said_as_planned(run, told, row=1)
    corrected = number(re.search(r"\(([\d,]+) photos corrected for 3 models\)\.$", told)[1])
    assert plan["photos"] < corrected < 2 * plan["photos"]
    difference, other = re.search(
        r"and a difference of at least (\S+) points between its drop and that of (b|c)\.", told
    ).groups()
    pairs = plan_photos(run, 0.05, against="a").rows
    against = pairs.row(by_predicate=pl.col("model") == f"{other} vs. a", named=True)
    assert difference == percent(against["smallest_drop_now"])


def test_photos_that_suffice_in_the_plan_suffice_in_the_report(make_run, verdict_of):
    run = make_run({"a": (0.9, 0.9)}, classes=["x", "y"], per_group=300)
    rows = run.predictions.with_columns(correct=pl.int_range(pl.len()) % 100 != 0)
    run = replace(run, predictions=rows, scores=score_predictions(rows))
    plan = plan_photos(run, 0.05).rows.row(0, named=True)
    assert plan["photos"] <= plan["photos_now"]
    told = answers(verdict_of(run))
    assert told[ENOUGH].startswith("Yes. ")
    assert told["What to do next?"].startswith("Nothing: more photos of this kind would change little.")


def test_the_next_step_is_no_stronger_than_the_tests(make_run, verdict_of):
    run = make_run({"a": (0.9, 0.2), "b": (0.9, 0.88)}, per_group=60)
    a, b = (model.get("accuracy", "counter") for model in models_of(run))
    assert answers(verdict_of(run))["What to do next?"].startswith(
        "Compare accuracy on counter backgrounds. Weigh the drop against accuracy there: "
        f"a {a.text} % {a.interval}, b {b.text} % {b.interval}."
    )
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
    space = few.info.label_space.model_copy(update={"name": "few", "size": 20})
    few = replace(few, info=few.info.model_copy(update={"label_space": space}))
    found = section_of(many, few)
    said = answers(found.verdict)["More than the other models?"]
    assert "significantly larger than that of e (" in said  # one of four others
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
    assert told["What to do next?"].startswith(  # more photos would not help
        "Decide on other grounds, or evaluate all models on the same photos with the same settings. Do not"
    )


def test_classifiers_are_tested_though_runs_with_other_names_repeat_one(make_run, section_of):
    """A classifier reads no names, so the page has one row for what both runs hold."""
    first, both = make_run({"a": (0.9, 0.3)}, path="first"), make_run({"a": (0.9, 0.3), "b": (0.9, 0.8)})
    rows = both.predictions.with_columns(names=pl.lit("wordnet"))
    info = both.info.model_copy(update={"names": "wordnet"})
    other = replace(both, info=info, predictions=rows, scores=score_predictions(rows))
    for runs in ((first, other), (other, first)):
        found = section_of(*runs)
        assert [row.model.label for row in found.rows] == ["a", "b"]
        assert answers(found.verdict)["More than the other models?"].startswith("Yes.")
        (pair,) = found.comparisons.pairs
        (row,) = full_comparison(runs).tests.filter(metric="drop").rows(named=True)
        assert (pair.model, pair.drop.difference.value) == (row["model_a"], row["difference"])
