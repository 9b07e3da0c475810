"""The only file here that knows the package's names: plain tables in, rows of plain quantities out.

A row has `model`, `quantity` and some of COLUMNS. `asked` is the design: cells, contrasts, weights, clusters.
"""

import re
from pathlib import Path

import numpy as np
import polars as pl

from counterground.comparison import full_comparison
from counterground.decision import check_run, plan_photos
from counterground.discovery import find_pairs
from counterground.metrics import (
    BACKGROUND_EFFECT,
    Contrast,
    Design,
    agreement,
    holm,
    score_by,
    score_predictions,
    swap_effects,
)
from counterground.mitigation import FitData, list_mitigations
from counterground.paper.claims import claim_by_setting, scaling
from counterground.results import (
    BenchmarkRecord,
    CandidatesRecord,
    CountsRecord,
    InterventionRecord,
    ModelRecord,
    Run,
    RunInfo,
    regroup,
)
from counterground.settings import CheckSettings, PlanSettings

COLUMNS = (
    "value",
    "low",
    "high",
    "p_value",
    "p_holm",
    "classes_low",
    "classes_high",
    "n",
    "clusters",
    "text",
)
_ESTIMATE = "value low high p_value p_corrected classes_low classes_high n clusters"
_SETTING = {"names": "openai", "prompts": "simple", "protocol": "classification"}
_SETTING |= {"answer_score": None, "label_space": "benchmark"}


def scores(table, **asked):
    """Accuracies, drops, contrasts and averages, overall and by class; p-values corrected over the models."""
    design = _design(**asked)
    found = score_predictions(_predictions(table), design=design)
    models, corrected = regroup(found), {}
    for each in design.contrasts:
        p_values = holm(model.of(each).difference.p_value for model in models)
        corrected[each.name] = dict(zip((model.label for model in models), p_values, strict=True))
    for row in found.iter_rows(named=True):
        overall = row["class_index"] is None and row["metric"] in corrected
        p_corrected = corrected[row["metric"]][row["model"]] if overall else None
        of_class = "" if row["class_index"] is None else f" of class {row['class_index']}"
        more = {"p_corrected": p_corrected, "clusters": _fewest(row)}
        yield from _rows(row | more, row["model"], {_quantity(row) + of_class: _ESTIMATE})


def breakdown(table, columns, *, balanced=True, **asked):
    """Accuracy on each combination of values of columns."""
    for row in score_by(_predictions(table), columns, balanced=balanced, design=_design(**asked)).to_dicts():
        cell = " & ".join(
            f"{column}={level}" for column, level in zip(columns, row["level"].split(" & "), strict=True)
        )
        how = "accuracy over classes" if balanced else "accuracy over photos"
        quantities = {f"{how}, {cell}": "value low high - - - - n clusters"}
        yield from _rows(row | {"clusters": _fewest(row)}, row["model"], quantities)


def effects(table, chance):
    """What backgrounds cause, from composites, overall and by class."""
    names = dict(table.select("class_index", "class_name").unique().rows())
    for row in swap_effects(table, chance=chance).to_dicts():
        of_class = "" if row["class_index"] is None else f" of class {names[row['class_index']]}"
        background = row["level"] if row["column"] == "background" else None
        quantity = " ".join(filter(None, ("effect", row["metric"], background))) + of_class
        yield from _rows(row, row["model"], {quantity: "value low high p_value - - - n clusters"})


def comparison(table=None, contrast=None, scale="probit", **asked):
    """Paired tests, ranks, lines, distances and agreement; without a table, of the paper, with scaling."""
    runs = [] if table is None else [_run(table, **asked)]
    found = full_comparison(runs, published=table is None, contrast=contrast, scale=scale)
    for row in found.every_test.to_dicts():
        pair, quantity = f"{row['model']} - {row['versus']}", _quantity(row)
        yield from _rows(row, pair, {f"difference of {quantity}": _ESTIMATE})
    ranked = found.ranks.select("row", "standard_error")
    for row in found.models.with_row_index("row").join(ranked, on="row", how="left").to_dicts():
        quantities = {
            "distance": "residual residual_low residual_high p_value p_corrected",
            "predicted": "predicted",
            "rank": "rank rank_low rank_high - - - - of",
            "standard error": "standard_error",
        }
        if not runs:
            quantities |= {name: name for name in ("common", "counter", "drop")}
        yield from _rows(row, row["model"] if runs else _joined(row["model"], row["source"]), quantities)
    for line in found.robustness.lines:
        ends = {name: f"{name} {name}_low {name}_high - - - - n" for name in ("slope", "intercept")}
        fitted = ends | {"residual_sd": "residual_sd", "r_squared": "r_squared"}
        yield from _rows(line.fit, f"line, {'here' if runs else line.source}", fitted)
        if line.with_errors is not None:
            further = ("slope_error", "intercept_error", "scatter", "chi_square", "noise", "df")
            of = f"line with errors in both, {'here' if runs else line.source}"
            yield from _rows(line.with_errors, of, ends | {name: name for name in further})
    for row in found.agreement.to_dicts():
        pair = f"{row['model']}, {row['versus']}"
        yield from _rows(row, pair, {"agreement of drops": "correlation low high - - - - classes"})
    for answer in () if runs else scaling(found.points, found.robustness):
        about = f"{answer.outcome}, {answer.subset}"
        joint = {"n": answer.n, **answer.effect._asdict()}
        yield from _rows(joint, about, {answer.term: "value low high p_value - - - n"})
        for how in ("alone", "by_data_set"):
            if getattr(answer, how) is not None:
                yield from _rows(
                    getattr(answer, how), about, {f"{answer.term} {how}": "value low high p_value"}
                )


def claim(scale):
    """The paper's CLIPs against the line of its ImageNet models, in each setting."""
    for row in claim_by_setting(scale).drop("tables").to_dicts():
        names = [
            name for name in row if name not in ("setting", "subset") and not name.endswith(("_low", "_high"))
        ]
        quantities = {name: f"{name} {name}_low {name}_high" for name in names}
        yield from _rows(row, f"{row['setting']}, {row['subset']}, {scale}", quantities)


def pairs(table, split, choose="best", seed=0):
    """Pairs of backgrounds that referees choose, and the evidence that they exceed chance."""
    found, groups = find_pairs(
        _predictions(table), split=split, choose=choose, seed=seed, min_drop=0.05, permutations=999
    )
    about = f"{' and '.join(table['model'].unique().sort())}, {split}, {choose}"
    counts = {name: name for name in ("photos_needed", "classes_seen", "comparable")}
    yield from _rows(found, about, counts)
    for name in ("classes_by_chance", "chosen_by_chance", "held_out_by_chance"):
        by_chance = {name: "observed - - p", f"{name}, permuted": "expected low high"}
        yield from _rows(getattr(found, name), about, by_chance)
    for name in ("chosen_drop", "reported_drop"):
        yield from _rows(getattr(found, name), about, {name: _ESTIMATE})
    for row in found.pairs.with_columns(text=pl.col("common") + " - " + pl.col("counter")).to_dicts():
        quantity = f"pair of {row['class_name']}, {row['half']}"
        yield from _rows(row, about, {quantity: "drop - - - - - - - - text"})
    for row in found.cells.to_dicts():
        quantity = f"accuracy, {row['class_name']}, {row['background']}, {row['half']}"
        yield from _rows(row, about, {quantity: "accuracy low high - - - - n clusters"})
    for row in groups.group_by("group").agg(n=pl.len()).to_dicts():
        yield from _rows(row, about, {f"photos, {row['group']}": "n"})


def plan(table=None, *, drop, power=0.8, among=None, against=None, assumed=None, **asked):
    """Photos that show a drop, `among` that many clusters at most, and what those at hand show."""
    run = None if table is None else _run(table, **asked)
    settings = PlanSettings(drop=drop, power=power, clusters=among, against=against, **(assumed or {}))
    for row in plan_photos(run, settings, contrast=_default(table)).rows.to_dicts():
        names = (
            "photos_now",
            "clusters_now",
            "power_now",
            "smallest_drop_now",
            "photos",
            "clusters",
            "label_hours",
        )
        about = f"{row['model']}, {drop} among {among} clusters"
        yield from _rows(row, about, {name: name for name in names})


def check(table, base=None, *, names=None, max_drop=None, min_accuracy=None, margin=0.02, **asked):
    """Verdicts with the intervals that are corrected for their number, and photos that would decide."""
    base = None if base is None else _run(base, names, **asked)
    limits = CheckSettings(max_drop=max_drop, min_accuracy=min_accuracy, margin=margin)
    for finding in check_run(_run(table, names, **asked), limits, base, contrast=_default(table)).verdicts:
        of_contrast = "change of drop" if finding.versus else "drop"
        kind = "accuracy" if finding.check == "accuracy" else of_contrast
        needed = finding.needed
        if needed and _default(table):  # times as many composites
            needed = np.ceil(10 * needed / finding.photos) / 10
        quantities = {
            kind: "value low high - - - - - - verdict",
            f"{kind}, photos that would decide": "needed",
        }
        yield from _rows(vars(finding) | {"needed": needed}, finding.model, quantities)


def _default(table):
    """The contrast that is decided about: of composites the effect of their backgrounds."""
    return BACKGROUND_EFFECT if table is not None and "swap" in table.columns else None


def annotators(votes):
    """Agreement of annotators."""
    for row in agreement(
        votes.with_columns(pl.col("labels").str.split("|"), task=pl.lit("labels"))
    ).to_dicts():
        about = f"class {row['class_name']}, label {row['label']}"
        yield from _rows(row, about, {"alpha": "alpha low high - - - - photos", "kappa": "kappa"})
        yield from _rows(row, about, {"agreement": "agreement - - - - - - annotators"})


def mitigated_heads(table, words, scale):
    """Logits `[n, k]` of every method and setting, on the photos it was fitted on; `words` have vectors."""
    names, grounds = (
        table[column].unique(maintain_order=True).to_list() for column in ("class_name", "background")
    )

    def encode(texts):
        # Other words than names push all texts a little the same way, long ones more.
        sums = [sum(words.get(word, 0.02 * len(word)) for word in re.findall(r"\w+", text)) for text in texts]
        return np.stack([each / np.linalg.norm(each) for each in sums]).astype(np.float32)

    parts = {name: table[name].to_numpy() for name in ("photo", "object", "ground")}
    data = FitData(
        features=parts["photo"],
        class_index=table["true_index"].cast(pl.Int64).to_numpy(),
        background=np.array(table["background"].to_list(), dtype=object),
        group=np.array(table["group"].to_list(), dtype=object),
        head=encode([f"A photo of {name}." for name in names]).T.copy(),
        scale=scale,
        class_names=names,
        background_names=sorted(grounds),
        encode_texts=encode,
        background_features=parts["ground"],
        foreground_features=parts["object"],
    )
    given = {"photo": parts["photo"], "background": parts["ground"], "foreground": parts["object"]}
    for method in list_mitigations():
        grid = [{}]
        for name, values in method.settings.items():
            grid = [setting | {name: value} for setting in grid for value in values]
        for setting in grid:
            head = method.fit(data, **setting)
            yield f"{method.name} {setting or ''}".strip(), head.logits(head.mix(given))


def mitigation(methods, folder):
    """Accuracies, cost and gain on planted photos, each judged by a head that saw nothing of its cluster."""
    from planted_photos import Planted, planted_benchmark

    import counterground as cg

    made = cg.mitigate(planted_benchmark(), Planted(), methods, out=folder)
    record = made.record
    changed = [
        (each.model, each.mitigated, {"cost": each.cost, "gain": each.gain}) for each in record.methods
    ]
    for model, of, changes in [(record.model, record.unmitigated, {"cost": None, "gain": None}), *changed]:
        estimates = {"common": of.common, "counter": of.counter, "drop": of.drop, **changes}
        for name, estimate in estimates.items():
            yield from _rows(estimate, model, {name: "value low high"})
        yield from _rows({"worst_group": of.worst_group}, model, {"worst_group": "worst_group"})
    for method in record.methods:
        holm = {"cost": method.cost.p_corrected, "gain": method.gain.p_corrected}
        yield from _rows(holm, method.model, {f"{name}, corrected": f"- - - - {name}" for name in holm})


def answers(weights: Path, photos: Path, protocol, out: Path):
    """What a generative model answers on photos in folders `CLASS/GROUP-BACKGROUND`."""
    from counterground.inference import evaluate_models
    from counterground.photos import read_benchmark
    from counterground.settings import Settings

    settings = Settings(label_space="benchmark", protocol=protocol, device="cpu", options=3)
    run = evaluate_models(read_benchmark(photos), [f"hf:{weights}"], settings, out)
    for row in run.predictions.to_dicts():
        names = ("predicted_index", "true_rank", "confidence", "top2_gap", "loss_sum", "loss_mean")
        about = f"{protocol}, {row['prompts'].splitlines()[0]}"
        yield from _rows(row, about, {f"{row['path']}, {name}": name for name in names})


def _rows(of, model, quantities):
    """Rows of an object or mapping: each quantity has the names of its fields in the order of COLUMNS."""
    fields = (
        of
        if isinstance(of, dict)
        else {}
        if of is None
        else {n: getattr(of, n) for n in dir(of) if n[0] != "_"}
    )
    for quantity, names in quantities.items():
        values = [fields.get(name) for name in names.split()]
        yield {"model": model, "quantity": quantity, **dict(zip(COLUMNS, values, strict=False))}


def _quantity(row):
    return _joined(row["contrast"] if row["column"] == "side" else row["metric"], row["level"])


def _fewest(row):
    return min(row[name] for name in ("clusters", "clusters_2") if row[name] is not None)


def _joined(name, part):
    return name if part is None else f"{name}, {part}"


def _design(contrasts=(), **asked):
    return Design(
        contrasts=tuple(map(Contrast.parse, contrasts or ["drop: group=common - group=counter"])), **asked
    )


def _predictions(table):
    """Return a plain table with the columns that the package reads; a table of its own as it is."""
    if "photo_id" in table.columns:
        return table
    right = pl.col("true_index") == pl.col("predicted_index")
    known = {"photo_id": pl.col("path"), "class_index": pl.col("true_index"), "correct": right}
    fixed = {
        name: pl.lit(value, pl.Boolean if value is False else pl.String) for name, value in _SETTING.items()
    }
    return table.drop("family", strict=False).with_columns(**known, **fixed)


def _run(table, names=None, **asked):
    predictions, design = _predictions(table), _design(**asked)
    families = dict(table.select("model", "family").unique().rows()) if "family" in table.columns else {}
    models = [
        ModelRecord(
            spec=model,
            kind="dual_encoder" if families.get(model) == "clip" else "classifier",
            fingerprint=model,
            description={"training_data": "ImageNet-1K"},
        )
        for model in predictions["model"].unique(maintain_order=True)
    ]
    photos = predictions["path"].n_unique()
    benchmark = BenchmarkRecord(
        name="golden", version="1", n_photos=photos, notes=[], design=design.to_json()
    )
    swapped = InterventionRecord.model_construct(source=benchmark) if "swap" in table.columns else None
    info = RunInfo.model_construct(
        benchmark=benchmark,
        candidates=CandidatesRecord(
            name="benchmark", size=names or predictions["class_name"].n_unique(), source=""
        ),
        models=models,
        names="openai",
        prompts="simple",
        precision="fp32",
        counts=CountsRecord(photos=photos, unreadable=0, converted_to_rgb=0, ties={}),
        intervention=swapped,
    )
    return Run(Path("run"), info, predictions)
