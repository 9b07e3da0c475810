"""How often the 95 % intervals of what backgrounds cause cover the truth, and their width, by simulation.

python bench/experiments/swap_coverage.py [REPLICATIONS [SCENE ...]]

Foregrounds are put on photographs of other backgrounds. A composite is right or wrong by a probit with
effects of its class, its background's label, the size of the object, the season, the foreground, the
background photograph, and their clusters. A planted model instead answers a share of the foregrounds (the
dose) by the background alone, the others by the foreground alone. The true figures are known in closed form
and computed here with group-bys, not by the package.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.special import ndtr

from counterground.metrics import SETTING_SCHEMA, drop_interval, swap_effects

QUANTITIES = ("observed_drop", "background_effect", "size_effect", "rest", "bg_gap")
BLOCK = 10
"""Replications that share which foregrounds and background photographs meet; they come in mirrored pairs."""
_SEASON, _SIZE, _SIZE_SPREAD = 0.2, 0.3, 0.3
_EVIDENCE = 1.5


@dataclass(frozen=True)
class Scene:
    """Composites of foregrounds and background photographs.

    Attributes:
        name: what the table calls it.
        classes: their common and counter labels rotate among ``labels``.
        foregrounds: photos of objects, half of them common.
        backgrounds: photographs of each label; 0: the foregrounds' own photos are the backgrounds.
        labels: of backgrounds.
        each: composites of a foreground with each label.
        dose: the share of foregrounds whose answer is planted; None: the probit has all effects.
        reliance: probits between common and counter backgrounds.
        of_background: standard deviation of background photographs, in probits.
        clusters: photos per cluster, for foregrounds and backgrounds: ``one``, or ``uneven``.
    """

    name: str
    classes: int = 5
    foregrounds: int = 200
    backgrounds: int = 25
    labels: int = 4
    each: int = 10
    dose: float | None = None
    reliance: float = 0.8
    of_background: float = 0.3
    clusters: str = "one"


_FOREGROUND, _ROW = 1.0, 0.6

SCENES = (
    Scene("200 foregrounds, 100 background photographs"),
    Scene("the same, no reliance", reliance=0.0),
    *(Scene(f"the same, planted dose of {dose} %", dose=dose / 100) for dose in (0, 25, 50, 75, 95)),
    Scene("photographs differ more (0.8 probits)", of_background=0.8),
    Scene("3 photographs of each label", backgrounds=3, each=3),
    Scene("uneven clusters of both", clusters="uneven"),
    Scene("20 foregrounds, 1 class", classes=1, foregrounds=20),
)


@dataclass(frozen=True)
class Layout:
    """The composites of a scene: ``rows`` with columns of predictions, and the indices of their parts.

    ``foreground`` and ``background`` ``[n]`` number foregrounds and background photographs (those of the
    foregrounds first); ``label`` ``[n]`` is +1 on common, -1 on counter, 0 on other labels.
    """

    rows: pl.DataFrame
    foreground: np.ndarray
    background: np.ndarray
    label: np.ndarray
    placed: np.ndarray
    cluster_of_foreground: np.ndarray
    cluster_of_background: np.ndarray
    common: np.ndarray
    class_index: np.ndarray


def clusters(rng: np.random.Generator, n: int, kind: str) -> np.ndarray:
    """Draw the cluster of each photo: its own, or one of a few, some of them large."""
    if kind == "one":
        return np.arange(n)
    number = max(4, n // 4)
    return rng.choice(
        number, n, p=np.arange(1, number + 1) ** -0.7 / (np.arange(1, number + 1) ** -0.7).sum()
    )


def lay_out(rng: np.random.Generator, scene: Scene) -> Layout:
    """Draw which foregrounds go on which backgrounds."""
    f, labels = scene.foregrounds, scene.labels
    class_index = np.arange(f) % scene.classes
    common = (np.arange(f) // scene.classes) % 2 == 0
    first, second = class_index % labels, (class_index + 1) % labels
    own = np.where(common, first, second)
    pool_label = np.concatenate([own, np.repeat(np.arange(labels), scene.backgrounds)])
    kinds, who, where = [], [], []

    def add(kind: str, foreground: int, backgrounds: np.ndarray) -> None:
        kinds.extend([kind] * len(backgrounds))
        who.extend([foreground] * len(backgrounds))
        where.extend(backgrounds.tolist())

    pools = [np.flatnonzero((pool_label == label) & _in_pool(scene, pool_label)) for label in range(labels)]
    for number in range(f):
        alone = np.array([number])
        for kind in ("original", "pasted", "refilled"):
            add(kind, number, alone)
        for label in range(labels):
            pool = pools[label][pools[label] != number]
            drawn = rng.choice(pool, min(scene.each, len(pool)), replace=False)
            add("same" if label == own[number] else "other", number, drawn)
        if scene.each:
            same = rng.choice([first[number], second[number]])
            add("mixed_same", number, rng.choice(pools[same], 1))
            add("mixed_rand", number, rng.choice(pools[rng.integers(labels)], 1))
        for kind in ("placed_common", "placed_counter"):
            add(kind, number, np.repeat(alone, 5))
    who_, where_, kind_ = np.array(who), np.array(where), np.array(kinds)
    on = pool_label[where_]
    label = np.where(on == first[who_], 1, np.where(on == second[who_], -1, 0))
    placed = np.where(kind_ == "placed_common", 1, np.where(kind_ == "placed_counter", -1, 0))
    of_f = clusters(rng, f, scene.clusters)
    of_b = np.concatenate([of_f, f + clusters(rng, len(pool_label) - f, scene.clusters)])
    names = [f"{number:06}" for number in range(len(who_))]
    rows = pl.DataFrame(
        {
            "path": names,
            "photo_id": names,
            "class_index": class_index[who_].astype(np.int32),
            "class_name": [f"class {index}" for index in class_index[who_]],
            "background": [f"label {number}" for number in on],
            "group": np.array(["counter", None, "common"], dtype=object)[label + 1].tolist(),
            "swap": kind_,
            "foreground": [f"p{number}" for number in who_],
            "background_photo": [f"p{number}" for number in where_],
            "background_class": [f"class {number % scene.classes}" for number in where_],
            "cluster": [f"c{number}" for number in of_f[who_]],
            "background_cluster": [f"c{number}" for number in of_b[where_]],
            "predicted_index": 0,
            **dict.fromkeys(SETTING_SCHEMA),
        },
        schema_overrides={"group": pl.String, **SETTING_SCHEMA},
    )
    return Layout(rows, who_, where_, label, placed, of_f, of_b, common, class_index)


def _in_pool(scene: Scene, pool_label: np.ndarray) -> np.ndarray:
    numbers = np.arange(len(pool_label))
    return numbers >= scene.foregrounds if scene.backgrounds else numbers < scene.foregrounds


def _fixed(scene: Scene, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Fixed part of each composite's probits ``[n]``: of the foreground, of the background."""
    level = 0.3 * np.cos(layout.class_index[layout.foreground])
    side = np.where(layout.common[layout.foreground], 0.5, -0.5)
    size = _SIZE * np.where(layout.placed == 0, side, layout.placed / 2)
    return level + _SEASON * side + size, _gap(scene) / 2 * layout.label


def _gap(scene: Scene) -> float:
    """Probits between common and counter backgrounds."""
    return scene.reliance if scene.dose is None else 2 * _EVIDENCE


def _chance(scene: Scene, fore: np.ndarray, back: float) -> np.ndarray:
    """Return the chance that composites are right, over foregrounds and background photographs."""
    variance = _FOREGROUND**2 + _SIZE_SPREAD**2 + _ROW**2
    if scene.dose is None:
        return ndtr((fore + back) / np.sqrt(variance + scene.of_background**2))
    alone = ndtr(back / np.sqrt(scene.of_background**2 + _ROW**2))
    return scene.dose * alone + (1 - scene.dose) * ndtr(fore / np.sqrt(variance))


def truths(scene: Scene, layout: Layout) -> dict[str, float]:
    """Return the true figures."""
    fore, _ = _fixed(scene, layout)
    on = {label: _chance(scene, fore, _gap(scene) / 2 * label) for label in (-1, 0, 1)}
    kind, label = layout.rows["swap"].to_numpy(), layout.label
    chance = np.where(label > 0, on[1], np.where(label < 0, on[-1], on[0]))
    # The labels of these are drawn.
    chance = np.where(kind == "mixed_same", (on[1] + on[-1]) / 2, chance)
    everywhere = (on[1] + on[-1] + (scene.labels - 2) * on[0]) / scene.labels
    chance = np.where(kind == "mixed_rand", everywhere, chance)
    rows = layout.rows.with_columns(chance=pl.Series(chance))

    def mean(**values: str | list[str]) -> float:
        chosen = [pl.col(name).is_in([of] if isinstance(of, str) else of) for name, of in values.items()]
        by_class = rows.filter(chosen).group_by("class_index").agg(pl.mean("chance"))
        return float(by_class["chance"].mean())

    swapped = ["other", "same"]
    found = {
        "observed_drop": mean(swap="original", group="common") - mean(swap="original", group="counter"),
        "background_effect": mean(swap=swapped, group="common") - mean(swap=swapped, group="counter"),
        "size_effect": mean(swap="placed_common") - mean(swap="placed_counter"),
        "bg_gap": mean(swap="mixed_same") - mean(swap="mixed_rand"),
    }
    found["rest"] = found["observed_drop"] - found["background_effect"] - found["size_effect"]
    return found


def answers(seed: int, sign: int, scene: Scene, layout: Layout) -> np.ndarray:
    """Draw which composites are right ``[n]``; the other ``sign`` mirrors the random part."""
    fore, back = _fixed(scene, layout)
    rng = np.random.default_rng(seed)

    def normal(size: int) -> np.ndarray:
        return sign * rng.normal(size=size)

    def drawn(cluster: np.ndarray, sd: float) -> np.ndarray:
        """Effects of photos; clusters of several photos make up half of the variance."""
        own, shared = normal(len(cluster)), normal(cluster.max() + 1)[cluster]
        return sd * (own if scene.clusters == "one" else (own + shared) / np.sqrt(2))

    skill = drawn(layout.cluster_of_foreground, _FOREGROUND)
    size = normal(len(skill)) * _SIZE_SPREAD
    there = layout.placed != 0
    fore = fore + skill[layout.foreground]
    fore += np.where(there, normal(len(fore)) * _SIZE_SPREAD, size[layout.foreground])
    back = back + drawn(layout.cluster_of_background, scene.of_background)[layout.background]
    noise = _ROW * normal(len(fore))
    if scene.dose is None:
        return fore + back + noise > 0
    chance = rng.random(len(skill))
    planted = ((chance if sign > 0 else 1 - chance) < scene.dose)[layout.foreground]
    return np.where(planted, back, fore) + noise > 0


@dataclass
class Tally:
    """Sums over replications: intervals that cover the truth, errors, widths, intervals."""

    held: int = 0
    error: float = 0.0
    width: float = 0.0
    number: int = 0

    def add(self, value: float, low: float, high: float, truth: float) -> None:
        """Count one interval."""
        self.held += low <= truth <= high
        self.error += value - truth
        self.width += high - low
        self.number += 1


def simulate(scene: Scene, replications: int, *, seed: int = 1) -> dict[str, Tally]:
    """Tally a scene's figures, and the drop on as many photos as it has source photos (``observational``)."""
    rng, found = np.random.default_rng(seed), {name: Tally() for name in (*QUANTITIES, "observational")}
    done = 0
    while done < replications:
        layout, count = lay_out(rng, scene), min(BLOCK, replications - done)
        truth = truths(scene, layout)
        frames = [
            layout.rows.with_columns(model=pl.lit(f"m{number}"), correct=pl.Series(right))
            for number in range(count)
            for right in [answers(done + number - number % 2, 1 - 2 * (number % 2), scene, layout)]
        ]
        effects = swap_effects(pl.concat(frames), by_class=False)
        for row in effects.filter(pl.col("metric").is_in(QUANTITIES)).iter_rows(named=True):
            found[row["metric"]].add(row["value"], row["low"], row["high"], truth[row["metric"]])
        _observe(rng, scene, range(done, done + count), truth["observed_drop"], found["observational"])
        done += count
    return found


def _observe(rng: np.random.Generator, scene: Scene, seeds: range, truth: float, tally: Tally) -> None:
    """Score as many photos of the classes as there are foregrounds and background photographs together."""
    photos = scene.foregrounds + scene.labels * scene.backgrounds
    photos -= photos % (2 * scene.classes)
    wider = Scene(**{**vars(scene), "foregrounds": photos, "backgrounds": 0, "each": 0})
    layout = lay_out(rng, wider)
    own = (layout.rows["swap"] == "original").to_numpy()
    rows = layout.rows.filter(own)
    for seed in seeds:
        right = answers(seed, 1, wider, layout)[own]
        drop = drop_interval(right, rows["class_index"], rows["group"], rows["cluster"])
        tally.add(drop.value, drop.low, drop.high, truth)


def main() -> None:
    """Print the table."""
    replications = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    chosen = SCENES if len(sys.argv) < 3 else [SCENES[int(number)] for number in sys.argv[2:]]
    titles = ["observed drop", "background", "size and position", "rest", "BG-Gap"]
    print(
        "| composites | "
        + " | ".join(titles)
        + " | largest bias | width, background | of as many photos | ratio |"
    )
    print("|---|" + "---|" * 9)
    for scene in chosen:
        found = simulate(scene, replications)
        cells = [f"{100 * found[name].held / found[name].number:.1f}" for name in QUANTITIES]
        bias = max((100 * each.error / each.number for each in map(found.get, QUANTITIES)), key=abs)
        causal, seen = (
            100 * found[name].width / replications for name in ("background_effect", "observational")
        )
        cells += [f"{bias:.2f}", f"{causal:.1f}", f"{seen:.1f}", f"{causal / seen:.2f}"]
        print(f"| {scene.name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
