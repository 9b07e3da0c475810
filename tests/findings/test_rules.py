"""Rules of findings: a claim agrees with its interval; what composites and methods show."""

from dataclasses import replace

import numpy as np
import pytest
from made_runs import fresh_run

from counterground.findings import Composites, Facts, Mitigation, judge
from counterground.metrics import Contrast, Estimate, ScoreKey, corrected_differences
from counterground.results import Accuracies, MethodRecord, MitigationRecord, regroup

RUN = fresh_run({"lead": (0.9, 0.3)})
MODELS = regroup(RUN.estimates())
TO_COUNTER = Contrast("drop", "group=common", "group=counter")


def told(**known):
    corrected = {"lead": known.pop("size", Estimate(0.5, 0.4, 0.6, p_corrected=0.001, family=1))}
    return {each.code: each for each in judge(Facts(MODELS, corrected=corrected, **known))}


def effect(value, half, p, family=1):
    return Estimate(value, value - half, value + half, p_corrected=p, family=family)


@pytest.mark.parametrize(
    ("size", "claim"),
    [
        (effect(0.3, 0.2, 0.01), "loses"),
        (effect(-0.3, 0.2, 0.01), "reversed"),
        (effect(0.1, 0.2, 0.3), "not_clear"),
        (Estimate(0.3, 0.1, 0.5), "not_established"),  # picked of nobody knows how many contrasts
        (Estimate(-0.3, -0.5, -0.1), "not_established"),
    ],
)
def test_the_claim_follows_the_corrected_interval(size, claim):
    found = told(size=size)
    assert next(iter(found)) == claim
    assert ("exploratory" in found) == (size.p_corrected is None)


@pytest.mark.parametrize("seed", range(5))
def test_no_claim_contradicts_the_interval_that_it_states(seed):
    random = np.random.default_rng(seed)
    levels = {
        f"m{k}": tuple(random.uniform(0.4, 0.9) - random.choice([0, 0.1]) * np.arange(2)) for k in range(4)
    }
    run = fresh_run(levels, classes=["x", "y", "z"], per_group=int(random.integers(5, 60)))
    corrected = corrected_differences([each.sides(TO_COUNTER) for each in run.answers.values()])
    for model, size in zip(regroup(run.estimates()), corrected, strict=True):
        assert size.value == pytest.approx(model.get("drop").value)
        (claim, *_) = judge(Facts([model], corrected={model.label: size}))
        low, high = claim.numbers["low"], claim.numbers["high"]
        assert {"loses": low > 0, "reversed": high < 0, "not_clear": low <= 0 <= high}[claim.code]
        assert (claim.code == "not_clear") == (size.p_corrected >= 0.05)


@pytest.mark.parametrize(("low", "told_so"), [(0.41, True), (0.39, False)])
def test_mistakes_that_fit_the_background_are_told_if_beyond_chance(low, told_so):
    ratios = {"bias_ratio": Estimate(0.6, low, 0.8), "bias_ratio_chance": Estimate(0.4)}
    known = {ScoreKey.of_group("counter", name): estimate for name, estimate in ratios.items()}
    model = replace(MODELS[0], overall={**MODELS[0].overall, **known})
    size = Estimate(0.5, 0.4, 0.6, p_corrected=0.001, family=1)
    found = {each.code: each for each in judge(Facts([model], corrected={"lead": size}))}
    assert ("mistakes_fit" in found) == told_so
    if told_so:
        assert (found["mistakes_fit"].numbers["value"], found["mistakes_fit"].numbers["chance"]) == (0.6, 0.4)


@pytest.mark.parametrize(("p", "code"), [(0.02, "caused"), (0.08, "not_caused")])
def test_the_effect_of_the_lead_is_told_with_what_limits_it(p, code):
    lead = Composites("lead", effect(0.05, 0.04 if p < 0.05 else 0.06, p, 4), 0.01)
    others = [Composites(f"other {k}", effect(0.4, 0.05, 0.001, 4)) for k in range(3)]
    found = told(composites=[*others, lead])
    assert (found[code].subject, found[code].numbers["effects"]) == ("lead", 4)
    assert found[code].numbers["low"] == lead.effect.low
    assert not {"inflated_too", "placebo_large", "do_swap"} & set(found)
    found = told(composites=[lead._replace(cost=-0.03, chose_pairs=True)])
    assert {code, "inflated_too", "placebo_large"} <= set(found)


def test_a_run_without_the_effect_does_not_hide_it_in_another():
    without, measured = Composites("lead", Estimate()), Composites("other", effect(-0.05, 0.04, 0.02))
    found = told(composites=[without, measured])
    assert (found["not_caused"].subject, found["not_caused"].numbers["value"]) == ("other", -0.05)
    assert "no_effect" in told(composites=[without])


def mitigation(p=0.01, lost=0.01, drop=0.3, **changed):
    """One method and perhaps another, ``changed``."""
    known = Accuracies(common=Estimate(), counter=Estimate(), drop=Estimate(value=drop), worst_group=None)
    method = MethodRecord(
        name="l2", title="t", source="s", model="lead + l2", group_labels={}, chosen_by=None, tried=1,
        settings=[], mitigated=known, cost=Estimate(value=lost), gain=Estimate(value=0.1, p_corrected=p),
        cpu_seconds=1,
    )  # fmt: skip
    methods = [method, *([method.model_copy(update=changed)] if changed else [])]
    record = MitigationRecord(
        model="lead", benchmark="b@1", contrast=str(TO_COUNTER), parts=[], seed=0, tests=4, unmitigated=known,
        methods=methods,
    )  # fmt: skip
    return Mitigation(record)


def test_a_significant_gain_is_told_with_its_cost_and_what_limits_it():
    found = told(mitigations=[mitigation()])
    assert (found["mended"].numbers["method"], found["mended"].numbers["cost"]) == ("l2", 0.01)
    assert not {"inflated_too", "mended_elsewhere", "do_mitigate"} & set(found)
    limited = mitigation()._replace(chose_pairs=True, other_photos=True)
    assert {"mended", "inflated_too", "mended_elsewhere"} <= set(told(mitigations=[limited]))
    better = Estimate(value=0.2, p_corrected=0.01)
    found = told(mitigations=[mitigation(0.2), mitigation(name="best", gain=better)])
    assert found["mended"].numbers["method"] == "best"


@pytest.mark.parametrize(
    "vain",
    [
        mitigation(0.2),
        mitigation(lost=0.09),  # nearly all of the gain is accuracy lost
        mitigation(
            0.2,
            gain=Estimate(value=0.5, p_corrected=0.01),
            cost=Estimate(value=0.0),
            mitigated=mitigation(drop=-0.2).record.unmitigated.model_copy(
                update={"drop": Estimate(value=-0.2, low=-0.3, high=-0.1)}
            ),
        ),
    ],
)
def test_no_gain_one_by_loss_and_one_that_reverses_mend_nothing(vain):
    found = told(mitigations=[vain._replace(chose_pairs=True)])
    assert "not_mended" in found
    assert not {"mended", "inflated_too"} & set(found)


def test_only_a_drop_is_made_smaller():
    assert told(mitigations=[mitigation(drop=-0.2)])["nothing_to_mend"].numbers["value"] == -0.2
