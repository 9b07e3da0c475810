"""Any contrast of any run is scored, compared, checked and planned for by the same code."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from counterground.comparison import full_comparison
from counterground.decision import check_run, plan_photos
from counterground.metrics import DROP, Contrast, Design
from counterground.results import scores_of
from counterground.settings import CheckSettings, PlanSettings

GAP = Contrast("place_gap", "place=land", "place=sea")
CONTRASTS = {
    "the drop": DROP,
    "declared": GAP,
    "an expression": Contrast("fog", "weather=clear & place!=air", "weather=fog", ("class_name", "group")),
    "photos on both sides": Contrast("sea", "all", "place=sea"),
    "an average": Contrast("to_training", "average(training)", "all"),
}


@pytest.fixture(scope="module")
def run(make_run):
    made = make_run({"m": (0.9, 0.5), "other": (0.8, 0.65)}, classes=["ox", "gull", "swan"], per_group=60)
    draw = np.random.default_rng(0)
    paths = made.predictions["path"].unique().sort()
    photos = pl.DataFrame(
        {
            "path": paths,
            "place": draw.choice(["land", "sea", "air"], len(paths)),
            "weather": draw.choice(["clear", "fog"], len(paths)),
        }
    )
    rows = made.predictions.join(photos, on="path", maintain_order="left")
    shares = {("ox", "land"): 0.5, ("gull", "sea"): 0.3, ("swan", "air"): 0.2}
    design = Design(("class_name", "place"), (DROP, GAP), {"training": shares})
    record = made.info.benchmark.model_copy(update={"design": design.to_json()})
    return replace(made, predictions=rows, info=made.info.model_copy(update={"benchmark": record}))


def value_rows(frame, contrast):
    return frame.filter(pl.col("metric") == contrast.name, pl.col("class_index").is_null())


@pytest.mark.parametrize("contrast", CONTRASTS.values(), ids=CONTRASTS)
def test_one_contrast_has_one_value_everywhere(run, contrast):
    scored = value_rows(run.estimates(contrast), contrast)
    assert len(scored) == 2
    checked = check_run(run, CheckSettings(max_drop=0.2), contrast=contrast).verdicts
    assert {finding.check for finding in checked} == {contrast.name}
    assert [finding.value for finding in checked] == pytest.approx(scored["value"].to_list())
    for finding, row in zip(checked, scored.iter_rows(named=True), strict=True):
        assert finding.low <= row["low"] <= row["high"] <= finding.high  # corrected for two verdicts
        assert (finding.verdict == "pass") == (finding.high <= 0.2)
        assert finding.photos == row["n"]
    (alone, _) = plan_photos(run, PlanSettings(drop=0.1), contrast=contrast).rows.to_dicts()
    assert (alone["photos_now"], 0 < alone["power_now"] <= 1) == (scored["n"][0], True)
    compared = full_comparison(run, published=False, contrast=contrast)
    (change,) = value_rows(compared.tests.with_columns(class_index=None), contrast).to_dicts()
    assert change["value"] == pytest.approx(checked[0].value - checked[1].value)
    base = replace(run, predictions=run.predictions.filter(model="other"))
    (versus, _) = check_run(run, CheckSettings(), base, contrast=contrast).verdicts
    assert versus.value == pytest.approx(change["value"])


@pytest.mark.parametrize(
    ("contrast", "of"),
    [(GAP, 1), (Contrast("x", "place=air", "place=sea"), 3), (CONTRASTS["an average"], None)],
)
def test_a_picked_contrast_is_corrected_for_its_pairs_in_scores_and_comparisons(run, contrast, of):
    table = scores_of([run], contrast=contrast)
    rows = value_rows(table.rows, contrast)
    tests = full_comparison(run, published=False, contrast=contrast).tests
    if of is None:
        assert rows["p_corrected"].null_count() == len(rows)
        assert tests["p_corrected"].null_count() == len(tests)
        return
    assert rows["family"].unique().to_list() == [2 * of]
    assert tests["family"].unique().to_list() == [4 * of]
    for row in rows.iter_rows(named=True):
        assert row["p_corrected"] >= min(1, of * row["p_value"])
        assert (row["p_corrected"] < 0.05) == (row["low"] > 0 or row["high"] < 0)


def test_undecided_passes_only_what_could_have_been_detected(run):
    limits = CheckSettings(max_drop=0.35)
    undecided = next(each for each in check_run(run, limits).verdicts if each.verdict == "undecided")
    reach = undecided.value - undecided.low
    assert undecided.reasons[0] == "contains_limit"
    assert reach < undecided.detectable < 1.5 * reach
    for allowed, verdict in (
        (undecided.detectable + 0.001, "pass"),
        (undecided.detectable - 0.001, "undecided"),
    ):
        given = replace(limits, undecided="pass", detectable=allowed)
        again = next(each for each in check_run(run, given).verdicts if each.model == undecided.model)
        assert again.verdict == verdict
    strict = check_run(run, replace(limits, undecided="fail"))
    assert "undecided" not in {finding.verdict for finding in strict.verdicts}
