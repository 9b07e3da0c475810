"""What `discover` finds in simulated referees.

python bench/experiments/discovery.py [REPLICATIONS] [NAME=VALUE ...]

Six worlds: three layouts of photos, each with and without effects of the backgrounds. The truth of a pair is
known, and so are bias and coverage of the reported drop. ``says chance``: no benchmark would be written;
``where chosen``: none would be if the drop on the photos that chose decided. The second table covers the
referees for which a benchmark would be written; with ``permutations=999``, as in `discover`, also split by
whether it says that the drop may be inflated. Options: ``split``, ``choose``, ``min_photos``,
``worlds=alike`` (a background affects all classes alike), ``worlds=uneven`` (cells of very unequal size) or
``worlds=heavy`` (two backgrounds from few observers with many photos each), and ``only=8`` (the worlds whose
name starts with this).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.polynomial.hermite_e import hermegauss
from scipy.special import expit

from counterground.discovery import find_pairs


class World(NamedTuple):
    """A layout of photos, and what decides if a referee is right (standard deviations, in logits).

    ``label`` and ``further`` are the effects of a background on all classes, and on one class; ``cluster``
    and ``within`` those of a cluster on all its photos, and on those of one class.
    """

    name: str
    layout: str
    label: float
    further: float
    mean: float
    spread: float
    cluster: float
    within: float

    def without_effects(self) -> World:
        """The same world if backgrounds did not matter."""
        return self._replace(label=0.0, further=0.0)


WORLDS = (
    World("45 classes x 24 photographs of 6 labels x 4", "photographs", 0.45, 0.7, 1.1, 1.2, 0.5, 0.6),
    World("20 classes x 4 labels x 40, observers", "observers", 0.2, 0.3, 1.2, 0.6, 0.7, 0.0),
    World("8 classes x 3 labels x 16, independent", "free", 0.3, 0.6, 1.3, 0.5, 0.0, 0.0),
)
ALIKE = tuple(
    world._replace(label=label, further=further)
    for world, label, further in zip(WORLDS, (0.7, 0.4, 0.6), (0.2, 0.1, 0.2), strict=True)
)
UNEVEN = tuple(
    World(f"20 classes x 6 labels, median of {median}", f"uneven {median}", 0.3, 0.5, 1.2, 0.7, 0.0, 0.0)
    for median in (12, 40)
)
HEAVY = tuple(
    World(
        f"6 classes, two labels of {few} observers, two of 40", f"heavy {few}", 0.5, 0.5, 1.0, 0.0, 2.5, 0.0
    )
    for few in (2, 4)
)
_NODES, _WEIGHTS = hermegauss(31)


def simulate(world: World, random: np.random.Generator) -> tuple[pl.DataFrame, np.ndarray]:
    """Draw predictions, and the true accuracy of each class and background ``[classes, backgrounds]``."""
    c, b, k = LAYOUTS[world.layout](random)
    classes, labels = c.max() + 1, b.max() + 1
    level = (
        world.mean
        + random.normal(0, world.spread, (classes, 1))
        + random.normal(0, 1, labels) * world.label
        + random.normal(0, 1, (classes, labels)) * world.further
    )
    shift = random.normal(0, world.cluster, k.max() + 1)[k]
    shift += random.normal(0, world.within, (k.max() + 1, classes))[k, c]
    p = expit(level[c, b] + shift)
    right = random.random(len(c)) < p
    predictions = pl.DataFrame(
        {
            "model": "simulated",
            "path": [f"{number:05d}" for number in range(len(c))],
            "class_index": c.astype(np.int32),
            "class_name": c.astype(str),
            "background": b.astype(str),
            "cluster": k.astype(str),
            "correct": right,
            "true_rank": np.where(right, 0, random.geometric(0.3, len(c))).astype(np.int32),
            "confidence": np.where(right, p, 1 - p).astype(np.float32),
        }
    )
    spread = np.hypot(world.cluster, world.within)
    truth = (expit(level[..., None] + _NODES * spread) * _WEIGHTS).sum(-1) / _WEIGHTS.sum()
    return predictions, truth


def _photographs(_random: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Every class on every photograph; a photograph has one label."""
    c, k, _ = np.indices((45, 24, 4)).reshape(3, -1)
    return c, k // 4, k


def _observers(random: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Observers of one class with about four photos each, most of them on their favourite background."""
    c, b, _ = np.indices((20, 4, 40)).reshape(3, -1)
    favourite = random.integers(0, 4, (20, 40))
    odds = np.where(favourite[c] == b[:, None], 3.0, 1.0).cumsum(axis=1)
    drawn = (random.random(len(c)) * odds[:, -1])[:, None] > odds
    return c, b, c * 40 + drawn.sum(axis=1)


def _free(_random: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Photos that are independent of each other."""
    c, b, _ = np.indices((8, 3, 16)).reshape(3, -1)
    return c, b, np.arange(len(c))


def _uneven(median: int) -> Callable[[np.random.Generator], tuple[np.ndarray, ...]]:
    """Independent photos, in log-normal numbers per class and background."""

    def layout(random: np.random.Generator) -> tuple[np.ndarray, ...]:
        counts = np.maximum(1, random.lognormal(np.log(median), 1.0, (20, 6)).astype(int)).ravel()
        cell = np.repeat(np.arange(120), counts)
        return cell // 6, cell % 6, np.arange(len(cell))

    return layout


def _heavy(few: int) -> Callable[[np.random.Generator], tuple[np.ndarray, ...]]:
    """40 photos of each class and background: of ``few`` observers on two of them, of 40 on the others."""

    def layout(_random: np.random.Generator) -> tuple[np.ndarray, ...]:
        c, b, photo = np.indices((6, 4, 40)).reshape(3, -1)
        return c, b, (c * 4 + b) * 40 + np.where(b < 2, photo % few, photo)

    return layout


LAYOUTS = {
    "photographs": _photographs,
    "observers": _observers,
    "free": _free,
    "uneven 12": _uneven(12),
    "uneven 40": _uneven(40),
    "heavy 2": _heavy(2),
    "heavy 4": _heavy(4),
}


class Row(NamedTuple):
    """A world's figures over all referees: points, and shares in percent."""

    kept: float
    where_chosen: float
    truth: float
    reported: float
    bias: float
    rmse: float
    width: float
    coverage: float
    alarms: float
    says_chance: float
    by_choosers: float


class Written(NamedTuple):
    """The share of referees for which such benchmarks are written, and their figures (points, percent)."""

    share: float
    truth: float
    reported: float
    bias: float
    coverage: float


def measure(world: World, replications: int, *, seed: int = 1, **options: Any) -> np.ndarray:
    """Discover in simulated referees; a row for each: the fractions of `Row` and ``may_be_inflated``."""
    random = np.random.default_rng(seed)
    found = []
    for number in range(replications):
        predictions, accuracy = simulate(world, random)
        finding, _ = find_pairs(predictions, seed=number, **options)
        drop = finding.chosen_drop if finding.reported_drop is None else finding.reported_drop
        if drop.low is None:
            found.append([0.0] * 6 + [np.nan] * 3 + [1.0, 1.0, 0.0])
            continue
        pairs = finding.pairs.with_columns(
            true=accuracy[finding.pairs["class_index"], finding.pairs["common"].cast(int)]
            - accuracy[finding.pairs["class_index"], finding.pairs["counter"].cast(int)]
        )
        truth = pairs.group_by("half").agg(pl.col("true").mean())["true"].mean()
        found.append(
            [
                pairs["class_index"].n_unique() / 100,
                finding.chosen_drop.value,
                truth,
                drop.value,
                drop.value - truth,
                (drop.value - truth) ** 2,
                drop.high - drop.low,
                drop.low <= truth <= drop.high,
                not drop.low <= 0 <= drop.high,
                not finding.exceeds_chance,
                finding.chosen_by_chance.p >= 0.05,
                finding.may_be_inflated,
            ]
        )
    return np.array(found, dtype=float)


def summarised(found: np.ndarray) -> Row:
    """Return the figures over all referees; ``alarms``: the interval of the reported drop excludes 0."""
    means = np.nanmean(found[:, :-1], axis=0)
    means[5] = np.sqrt(means[5])
    return Row(*(100 * means))


def among_written(found: np.ndarray, said: Sequence[int]) -> Written:
    """Return the figures of the referees that exceed chance and whose ``may_be_inflated`` is in ``said``."""
    of = found[(found[:, 9] == 0) & np.isin(found[:, -1], said)]
    if not len(of):
        return Written(0.0, *[np.nan] * 4)
    return Written(100 * len(of) / len(found), *(100 * of[:, [2, 3, 4, 7]].mean(axis=0)))


def main() -> None:
    """Print two Markdown tables: all referees, and those for which a benchmark would be written."""
    replications = next((int(word) for word in sys.argv[1:] if word.isdigit()), 100)
    options: dict[str, Any] = dict(word.split("=") for word in sys.argv[1:] if "=" in word)
    worlds = {"alike": ALIKE, "uneven": UNEVEN, "heavy": HEAVY}.get(options.pop("worlds", ""), WORLDS)
    worlds = [world for world in worlds if world.name.startswith(options.get("only", ""))]
    options.pop("only", None)
    options = {"permutations": 199} | {
        name: int(value) if value.isdigit() else value for name, value in options.items()
    }
    written, which = [], {"all": (0, 1)}
    if options["permutations"] >= 999:
        which |= {"that says so": (1,), "that does not": (0,)}
    print(f"{replications} referees a row; {options}\n")
    heads = ("world", "classes kept", "drop where chosen", "true drop", "reported", "bias", "RMSE", "width")
    heads += ("coverage", "excludes 0", "says chance", "where chosen")
    print(_line(heads) + f"\n|{'---|' * len(heads)}")
    for with_effects in worlds:
        for effects, world in (("none", with_effects.without_effects()), ("effects", with_effects)):
            name, found = f"{world.name}: {effects}", measure(world, replications, **options)
            print(_line([name, *_rounded(summarised(found))]), flush=True)
            written += [[name, of, *_rounded(among_written(found, said))] for of, said in which.items()]
    heads = ("written", "of", "share", "true drop", "reported", "bias", "coverage")
    print(f"\n{_line(heads)}\n|{'---|' * len(heads)}")
    print("\n".join(map(_line, written)))


def _rounded(figures: Iterable[float]) -> list[str]:
    return [f"{figure:.1f}" for figure in figures]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
