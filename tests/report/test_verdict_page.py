"""The verdict is no stronger than the tests."""

import pytest

from counterground.report.page._comparisons import compare
from counterground.report.page._section import label_models
from counterground.report.page._verdict import judge


def verdict_of(*runs):
    by_run = label_models(runs)
    models = [model for models in by_run for model in models]
    lead = max(models, key=lambda model: model.get("drop").value or -9)
    return judge(models, compare(runs, by_run, lead.label))


def models_of(run):
    return label_models([run])[0]


def answers(verdict):
    return {answer.question: f"{answer.answer} {answer.reason}" for answer in verdict.answers}


def test_a_drop_that_stands_out_leads(make_run):
    verdict = verdict_of(make_run({"a": (0.9, 0.2), "b": (0.9, 0.88)}, per_group=60))
    assert verdict.lead == "a"
    assert verdict.sentence.startswith("a leans most on the background: it loses ")
    told = answers(verdict)
    assert told["Does a lean on the background at all?"].startswith("Yes. The 95 % interval")
    assert told["Does it lean more than the others?"].startswith(
        "Yes. Its drop is larger than that of the other"
    )
    assert "< 0.001, corrected for 1 pair" in told["Does it lean more than the others?"]


def test_drops_that_cannot_be_told_apart_are_no_ranking(make_run):
    verdict = verdict_of(make_run({"a": (0.8, 0.5), "b": (0.8, 0.5), "c": (0.8, 0.52)}))
    assert verdict.sentence.startswith("Which model leans most, these photos cannot tell.")
    assert answers(verdict)["Does it lean more than the others?"].startswith("Undecided. Tested on the same")


def test_some_told_apart_and_some_not(make_run):
    run = make_run({"a": (0.9, 0.3), "b": (0.9, 0.3), "c": (0.9, 0.89)}, per_group=60)
    verdict = verdict_of(run)
    assert "has the largest drop: it loses" in verdict.sentence
    assert verdict.sentence.endswith("may lean as much.")
    assert "more than c; it cannot be told from" in answers(verdict)["Does it lean more than the others?"]


def test_no_drop_shown_is_said(make_run):
    run = make_run({"a": (0.8, 0.7), "b": (0.8, 0.71)}, per_group=5)
    verdict = verdict_of(run)
    lead = max(models_of(run), key=lambda model: model.get("drop").value)
    assert lead.get("drop").low <= 0 < lead.get("drop").value
    assert verdict.sentence.startswith(
        "No model is shown to lean on the background. The largest drop is that of"
    )


def test_a_model_whose_drop_is_shown_is_named_though_another_has_a_larger_one(make_run):
    wide = make_run({"a": (0.9, 0.55)}, path="one", classes=["x", "y", "z"], per_group=2)
    sure = make_run({"b": (0.9, 0.8)}, path="two", per_group=80, classes=["x", "y", "z"])
    (a,), (b,) = models_of(wide), models_of(sure)
    assert a.get("drop").value > b.get("drop").value
    assert a.get("drop").low <= 0 < b.get("drop").low
    verdict = verdict_of(wide, sure)
    assert verdict.lead == "a"
    assert verdict.sentence.startswith(
        f"b is shown to lean on the background: its drop is {b.get('drop').text} points"
    )
    assert "The largest drop is that of a" in verdict.sentence


def test_the_least_is_told_apart_or_not(make_run):
    near = answers(verdict_of(make_run({"a": (0.9, 0.3), "b": (0.9, 0.31), "c": (0.9, 0.32)}, per_group=60)))
    assert "as measured:" in near["Which drops least?"]
    assert "were not told apart from it and may drop as little" in near["Which drops least?"]
    far = answers(verdict_of(make_run({"a": (0.9, 0.2), "b": (0.9, 0.88)}, per_group=60)))
    assert far["Which drops least?"].startswith("b: ")


def test_a_gain_is_no_loss(make_run):
    verdict = verdict_of(make_run({"a": (0.3, 0.9), "b": (0.3, 0.95)}, per_group=40))
    assert verdict.sentence.startswith("No model was seen to lose accuracy when the background changes")


def test_one_model_is_told_alone(make_run):
    verdict = verdict_of(make_run({"a": (0.9, 0.3)}))
    assert verdict.sentence.startswith("a loses")
    assert "Does it lean more than the others?" not in answers(verdict)
    assert "flattered" not in str(answers(verdict))


def test_without_groups_there_is_no_lead(make_run):
    verdict = verdict_of(make_run({"a": (0.9, 0.3)}, groups=False))
    assert verdict.lead is None
    assert verdict.sentence.startswith("a has no drop")
    two = verdict_of(make_run({"a": (0.9, 0.3), "b": (0.8, 0.3)}, groups=False))
    assert two.sentence == "No model has a drop: no class has both common and counter photos."


def test_few_clusters_are_said(make_run):
    assert (
        "So few make wide intervals"
        in answers(verdict_of(make_run({"a": (0.9, 0.3)}, classes=["x", "y"])))["What does this rest on?"]
    )


def test_many_models_are_tested_against_the_lead_for_all_pairs(make_run):
    run = make_run({f"m{k}": (0.8, 0.6 - 0.04 * k) for k in range(8)}, per_group=40)
    by_run = label_models([run])
    models = by_run[0]
    lead = max(models, key=lambda model: model.get("drop").value)
    found = compare([run], by_run, lead.label)
    assert {pair.against for pair in found.pairs} == {lead.label}
    assert found.corrected_for == 8 * 7 // 2
    from counterground.comparison import full_comparison
    from counterground.metrics import compare_models

    tests = full_comparison([run], published=False, against=lead.label).tests
    assert tests.filter(metric="drop")["p_holm"].equals(
        compare_models(run.predictions, lead.label).filter(metric="drop")["p_holm"]
    )
    wanted = dict(tests.filter(metric="drop").select("model_a", "p_holm").iter_rows())
    for pair in found.pairs:
        test = next(test for test in pair.tests if test.title == "Drop")
        assert test.p_corrected == pytest.approx(wanted[pair.model])


def test_other_photos_are_no_test(make_run):
    whole = make_run({"a": (0.9, 0.2)}, path="one")
    part = make_run({"b": (0.8, 0.5)}, path="two", lacking={0: "counter"})
    told = answers(verdict_of(whole, part))["Does it lean more than the others?"]
    assert told.startswith("Not tested.")
    assert "photos were seen by the first only" in told
