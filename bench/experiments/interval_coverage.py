"""How often the 95 % intervals cover the truth, by simulation.

python bench/experiments/interval_coverage.py [REPLICATIONS]

Photos are right or wrong by a probit with effects of the cluster, shared by all its classes and groups or of
one group alone, so the true accuracies are known in closed form. Two models see the same photos and share
half of the random variation. The truth is that of the population of clusters over the classes at hand; for
intervals over classes, it is that of a population of classes that each replication draws from. Single
classes: ``class_coverage.py``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from scipy.special import ndtr, ndtri

from counterground.metrics import SETTING_SCHEMA, paired_tests, read_answers, score_predictions

BLOCK = 50
"""Replications that share a layout."""
OF_ONE = ("accuracy", "common", "counter", "drop")
OF_TWO = {f"two models, {name}": name for name in OF_ONE}
"""Differences between two models on the same photos."""
QUANTITIES = (*OF_ONE, *OF_TWO)
_SIDES = {"accuracy": "accuracy", "common": "left", "counter": "right", "drop": "difference"}


@dataclass(frozen=True)
class Layout:
    """Photos: class, group (0 common, 1 counter) and cluster of each ``[n]``."""

    class_index: np.ndarray
    group: np.ndarray
    cluster: np.ndarray


def crossed(
    rng: np.random.Generator,
    classes: int = 45,
    photos: int = 10,
    clusters: int | None = None,
    odds: np.ndarray | None = None,
) -> Layout:
    """Every cluster may have photos of every class and group; without ``clusters`` each photo is one."""
    class_index = np.repeat(np.arange(classes), 2 * photos)
    group = np.tile(np.repeat([0, 1], photos), classes)
    if clusters is None:
        return Layout(class_index, group, np.arange(len(group)))
    share = None if odds is None else odds / odds.sum()
    return Layout(class_index, group, rng.choice(clusters, len(group), p=share))


def nested(
    rng: np.random.Generator,
    classes: int = 45,
    photographs: tuple[int, ...] = (3, 3, 2, 2, 2, 2),
    placements: int = 4,
    same_pair: float = 0.0,
) -> Layout:
    """A class has one label as common and another as counter, and placements on each photograph of both."""
    first = np.cumsum([0, *photographs])
    rows = []
    for index in range(classes):
        pair = rng.permutation(len(photographs))[:2] if rng.random() >= same_pair else (0, 1)
        for group, label in enumerate(pair):
            for photograph in range(first[label], first[label + 1]):
                rows += [(index, group, photograph)] * placements
    return Layout(*np.array(rows).T)


def observers(rng: np.random.Generator, sizes: np.ndarray) -> Layout:
    """Observers with a few photos each, of one class or of neighbours; ``sizes`` are ``[c, 2]``."""
    cells = sizes.ravel()
    class_index = np.repeat(np.repeat(np.arange(len(sizes)), 2), cells)
    group = np.repeat(np.tile([0, 1], len(sizes)), cells)
    order = np.argsort(class_index + rng.random(len(group)) * 1.5)
    cluster = np.empty(len(group), dtype=int)
    cluster[order] = np.repeat(np.arange(len(group)), rng.geometric(0.3, len(group)))[: len(group)]
    return Layout(class_index, group, cluster)


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.normal(size=shape)


def _skewed(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return 1 - rng.exponential(size=shape)


def _rare(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """One cluster in five is 2.5 standard deviations harder than the others."""
    return np.where(rng.random(shape) < 0.2, -2.0, 0.5)


_QUANTILES = (np.arange(4000) + 0.5) / 4000
_NODES = {
    _normal: ndtri(_QUANTILES),
    _skewed: 1 + np.log(1 - _QUANTILES),
    _rare: np.where(_QUANTILES < 0.2, -2.0, 0.5),
}


@dataclass(frozen=True)
class Scene:
    """A benchmark to simulate.

    Attributes:
        name: what the table calls it.
        layout: draws photos.
        level: (class of each photo, number of classes) -> probit of its accuracy before cluster effects.
        drop: how much lower it is on counter photos.
        shared, within: standard deviations of the cluster's effect on all photos, and on those of a group.
        effect: draws the shared effect, with mean 0 and variance 1.
        extreme: accuracies near 0 or 1, or too few clusters: coverage is stated separately.
    """

    name: str
    layout: Callable[[np.random.Generator], Layout]
    level: Callable[[np.ndarray, int], np.ndarray] = lambda index, classes: np.linspace(-0.4, 1.6, classes)[
        index
    ]
    drop: float = 0.7
    shared: float = 0.6
    within: float = 0.3
    effect: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray] = _normal
    extreme: bool = False


def at(common: float, counter: float, spread: float = 0.0) -> dict[str, object]:
    """Return the level and drop that give all classes these accuracies, with clusters of this variance."""
    levels = [float(ndtri(p) * np.sqrt(1 + spread)) for p in (common, counter)]
    return {"level": lambda index, _: np.full(len(index), levels[0]), "drop": levels[0] - levels[1]}


def _zero_one(index: np.ndarray, classes: int) -> np.ndarray:
    third = 3 * index // classes
    return np.where(third == 0, -9.0, np.where(third == 1, 9.0, np.linspace(-0.4, 1.6, classes)[index]))


def _one_bad(index: np.ndarray, classes: int) -> np.ndarray:
    return np.where(index < classes - 1, ndtri(0.97), ndtri(0.05))


INDEPENDENT = {"shared": 0.0, "within": 0.0}
SCENES = (
    Scene("14 photographs nested in 6 labels, 4 placements (`stamps`)", nested),
    Scene("the same, 70 % of classes on one pair", lambda rng: nested(rng, same_pair=0.7)),
    Scene("4 photographs", lambda rng: crossed(rng, photos=8, clusters=4)),
    Scene("14 photographs, skewed effects", nested, effect=_skewed),
    Scene("14 photographs, one in five harder by 0.75 probits", nested, shared=0.3, effect=_rare),
    Scene("40 clusters, very uneven", lambda rng: crossed(rng, clusters=40, odds=rng.pareto(1.5, 40) + 0.1)),
    Scene("2 classes, 8 clusters", lambda rng: crossed(rng, 2, 16, 8)),
    Scene("1 class, 30 clusters", lambda rng: crossed(rng, 1, 40, 30)),
    Scene("observers, 5 classes", lambda rng: observers(rng, np.full((5, 2), 40))),
    Scene("observers, 45 uneven classes", lambda rng: observers(rng, rng.integers(3, 60, (45, 2)))),
    Scene("independent, classes at 0 and 1", crossed, _zero_one, **INDEPENDENT),
    Scene("200 clusters", lambda rng: crossed(rng, photos=20, clusters=200)),
    Scene("20 clusters", lambda rng: crossed(rng, photos=20, clusters=20)),
    Scene("6 clusters", lambda rng: crossed(rng, photos=20, clusters=6)),
    Scene("independent, 4 photos a cell", lambda rng: crossed(rng, photos=4), **INDEPENDENT),
    Scene("14 photographs, one in five harder by 1.5 probits", nested, effect=_rare, extreme=True),
    Scene("3 clusters", lambda rng: crossed(rng, photos=8, clusters=3), extreme=True),
    Scene("accuracies of 99 and 97 %", crossed, **at(0.99, 0.97), **INDEPENDENT, extreme=True),
    Scene(
        "99 and 97 %, 15 clusters",
        lambda rng: crossed(rng, clusters=15),
        **at(0.99, 0.97, 0.45),
        extreme=True,
    ),
    Scene("accuracies of 3 and 1 %", crossed, **at(0.03, 0.01), **INDEPENDENT, extreme=True),
    Scene(
        "8 classes at 97 %, one at 5 %",
        lambda rng: crossed(rng, 9, 20),
        _one_bad,
        drop=0.0,
        **INDEPENDENT,
        extreme=True,
    ),
)
OVER_CLASSES = (
    Scene("stamps", nested),
    Scene("200 clusters", lambda rng: crossed(rng, photos=20, clusters=200)),
    Scene("20 clusters", lambda rng: crossed(rng, photos=20, clusters=20)),
    Scene("observers, 45 uneven classes", lambda rng: observers(rng, rng.integers(3, 60, (45, 2)))),
    Scene("observers, CounterAnimal's sizes", lambda rng: observers(rng, rng.integers(60, 250, (45, 2)))),
    Scene("independent, 12 classes", lambda rng: crossed(rng, 12, 20), **INDEPENDENT),
)
# Standard deviations of a class's level and drop in a population of classes, in probits.
_CLASS_LEVEL, _CLASS_DROP, _MEAN_LEVEL = 0.7, 0.5, 0.6


@dataclass
class Draws:
    """Replications on one layout: two models' answers ``[r, n]`` each, and the truth of each quantity.

    ``of_classes`` are the common and counter accuracies ``[c]`` and the drops of the first model's classes.
    """

    layout: Layout
    correct: tuple[np.ndarray, np.ndarray]
    truth: dict[str, float]
    of_classes: dict[str, np.ndarray]


def simulate(scene: Scene, rng: np.random.Generator, replications: int, *, classes: bool = False) -> Draws:
    """Draw a layout and answers; with ``classes`` every replication has its own classes."""
    layout = scene.layout(rng)
    index, group, (_, cluster) = (
        layout.class_index,
        layout.group,
        np.unique(layout.cluster, return_inverse=True),
    )
    number = index.max() + 1
    layout = replace(layout, cluster=cluster)
    spread, level = scene.within**2, scene.level(index, number)
    drops = (scene.drop, scene.drop * 1.4)
    if classes:
        level = np.full(len(index), _MEAN_LEVEL)
    answers, chances = [], []
    together = _effects(scene, rng, replications, layout, classes=classes)
    for drop in drops:
        own = _effects(scene, rng, replications, layout, classes=classes)
        mixed = (together + own) / np.sqrt(2) if scene.effect is _normal else together
        answers.append(level - drop * group + mixed > 0)
        chances.append(_chance(scene, level - drop * group, spread, classes=classes))
    truths = [_truth(layout, chance) for chance in chances]
    differences = np.subtract(*truths).tolist()
    truth = dict(zip(QUANTITIES, (*truths[0], *differences), strict=True))
    truth["plain"] = float(chances[0].mean())
    return Draws(layout, (answers[0], answers[1]), truth, class_truths(layout, chances[0]))


def equal_models(
    scene: Scene, rng: np.random.Generator, replications: int, models: int
) -> tuple[Layout, np.ndarray]:
    """Draw a layout and the answers ``[r, models, n]`` of equal models that do not rely on the background."""
    layout = scene.layout(rng)
    layout = replace(layout, cluster=np.unique(layout.cluster, return_inverse=True)[1])
    level = scene.level(layout.class_index, layout.class_index.max() + 1)
    together = np.repeat(_effects(scene, rng, replications, layout, classes=False), models, axis=0)
    own = _effects(scene, rng, replications * models, layout, classes=False)
    correct = level + (together + own) / np.sqrt(2) > 0
    return layout, correct.reshape(replications, models, len(level))


def _effects(
    scene: Scene, rng: np.random.Generator, replications: int, layout: Layout, *, classes: bool
) -> np.ndarray:
    """Effects of photo, cluster and, if classes are drawn, class; the photo's has variance 1."""
    index, group, cluster = layout.class_index, layout.group, layout.cluster
    size, number = cluster.max() + 1, index.max() + 1
    found = rng.normal(size=(replications, len(index)))
    if scene.shared:
        found += scene.shared * scene.effect(rng, (replications, size))[:, cluster]
        found += scene.within * rng.normal(size=(replications, 2 * size))[:, 2 * cluster + group]
    if classes:
        found += _CLASS_LEVEL * rng.normal(size=(replications, number))[:, index]
        found += _CLASS_DROP * rng.normal(size=(replications, number))[:, index] * (group - 0.5)
    return found


def _chance(scene: Scene, level: np.ndarray, spread: float, *, classes: bool) -> np.ndarray:
    """How often a photo of each level ``[n]`` is right in the population of clusters (and of classes)."""
    if classes:
        spread += _CLASS_LEVEL**2 + _CLASS_DROP**2 / 4
    values, place = np.unique(level, return_inverse=True)
    nodes = scene.shared * _NODES[scene.effect]
    return np.asarray(ndtr((values[:, None] + nodes) / np.sqrt(1 + spread)).mean(axis=1)[place])


def _class_means(layout: Layout, chance: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Mean over the chosen photos of each class ``[c]``; NaN if there are none."""
    number = layout.class_index.max() + 1
    hits = np.bincount(layout.class_index[chosen], weights=chance[chosen], minlength=number)
    sizes = np.bincount(layout.class_index[chosen], minlength=number)
    return np.divide(hits, sizes, out=np.full(number, np.nan), where=sizes > 0)


def class_truths(layout: Layout, chance: np.ndarray) -> dict[str, np.ndarray]:
    common, counter = (_class_means(layout, chance, layout.group == group) for group in (0, 1))
    return {"common": common, "counter": counter, "drop": common - counter}


def _truth(layout: Layout, chance: np.ndarray) -> tuple[float, float, float, float]:
    """Accuracy averaged over classes, for all, common and counter photos, and the drop."""
    chosen = (layout.group >= 0, layout.group == 0, layout.group == 1)
    every, common, counter = (float(_class_means(layout, chance, photos).mean()) for photos in chosen)
    return every, common, counter, common - counter


def predictions(layout: Layout, correct: np.ndarray) -> pl.DataFrame:
    """Return the predictions of one model for each row of ``correct`` ``[models, n]``."""
    models, n = correct.shape
    names = [f"{number:05}" for number in range(n)]
    photos = pl.DataFrame(
        {
            "path": names,
            "photo_id": names,
            "class_index": layout.class_index.astype(np.int32),
            "group": np.array(["common", "counter"], dtype=object)[layout.group].tolist(),
            "cluster": [f"c{number}" for number in layout.cluster],
        }
    )
    empty = {"true_rank": pl.Int32, "confidence": pl.Float32, "top2_gap": pl.Float32, **SETTING_SCHEMA}
    return pl.concat([photos] * models).with_columns(
        pl.Series("model", np.repeat([f"m{number:05}" for number in range(models)], n)),
        pl.Series("correct", correct.ravel()),
        *(pl.lit(None, kind).alias(name) for name, kind in empty.items()),
    )


def coverage(
    scene: Scene, replications: int, *, seed: int = 1, classes: bool = False, block: int = BLOCK
) -> dict[str, float]:
    """Share of intervals that cover the truth, for each of ``QUANTITIES`` and ``plain``.

    With ``classes`` the truth is that of a population of classes, and the intervals are those over classes;
    ``over photos``, the share of intervals over photos that cover it, then replaces ``plain``.
    """
    rng = np.random.default_rng(seed)
    held = dict.fromkeys((*QUANTITIES, "over photos" if classes else "plain"), 0)
    low, high = ("classes_low", "classes_high") if classes else ("low", "high")
    done = 0
    while done < replications:
        count = min(block, replications - done)
        draws = simulate(scene, rng, count, classes=classes)
        frame = predictions(draws.layout, draws.correct[0])
        total = score_predictions(frame, by_class=False)
        for name in OF_ONE:
            held[name] += _held(_rows(total, name), low, high, draws.truth[name])
        if classes:
            held["over photos"] += _held(_rows(total, "drop"), "low", "high", draws.truth["drop"])
        else:
            plain = total.filter(pl.col("metric") == "plain_accuracy", pl.col("level").is_null())
            held["plain"] += _held(plain, low, high, draws.truth["plain"])
        models = [
            answers for _, answers in read_answers(predictions(draws.layout, np.concatenate(draws.correct)))
        ]
        pairs = [(number, count + number) for number in range(count)]
        for title, name in OF_TWO.items():
            tests = pl.DataFrame(paired_tests(models, pairs, _SIDES[name]))
            held[title] += _held(tests, low, high, draws.truth[title])
        done += count
    return {name: number / replications for name, number in held.items()}


def _rows(scores: pl.DataFrame, name: str) -> pl.DataFrame:
    """The rows of ``scores`` for one of ``OF_ONE``."""
    if name == "drop":
        return scores.filter(metric="drop")
    group = None if name == "accuracy" else name
    return scores.filter(pl.col("metric") == "accuracy", pl.col("level").eq_missing(pl.lit(group)))


def _held(rows: pl.DataFrame, low: str, high: str, truth: float) -> int:
    return int(((rows[low].to_numpy() <= truth) & (truth <= rows[high].to_numpy())).sum())


def _row(name: str, found: dict[str, float], columns: tuple[str, ...]) -> str:
    return f"| {name} | " + " | ".join(f"{100 * found[column]:.1f}" for column in columns) + " |"


HEADS = {
    "accuracy": "balanced",
    "plain": "all photos alike",
    "over photos": "interval over photos, drop",
    **{title: f"{'balanced' if name == 'accuracy' else name}, two models" for title, name in OF_TWO.items()},
}
OF_PHOTOS = (*OF_ONE, "plain", *OF_TWO)
OF_CLASSES = (*OF_ONE, *OF_TWO, "over photos")


def _head(title: str, columns: tuple[str, ...]) -> str:
    heads = [HEADS.get(name, name) for name in columns]
    return f"\n| {' | '.join([title, *heads])} |\n|{'---|' * (len(heads) + 1)}"


def main() -> None:
    """Print the tables."""
    replications = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    for title, extreme in (("other photos, these classes", False), ("the same, stated apart", True)):
        print(_head(title, OF_PHOTOS))
        for scene in (scene for scene in SCENES if scene.extreme == extreme):
            print(_row(scene.name, coverage(scene, replications), OF_PHOTOS), flush=True)
    print(_head("other classes", OF_CLASSES))
    for scene in OVER_CLASSES:
        print(_row(scene.name, coverage(scene, replications, classes=True), OF_CLASSES), flush=True)


if __name__ == "__main__":
    main()
