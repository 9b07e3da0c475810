"""What referees saw: a row per photo, two halves, and counts, also with the backgrounds permuted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from counterground.metrics import cell_accuracies

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.intp]
Flags = npt.NDArray[np.bool_]
_CHUNK = 1_000_000  # counts of one chunk of permutations
_CELLS = {
    "class_index": pl.Int32,
    "class_name": pl.String,
    "background": pl.String,
    "n": pl.Int64,
    "clusters": pl.Int64,
    "accuracy": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
}


def photos_seen(predictions: pl.DataFrame) -> pl.DataFrame:
    """Return a row per photo with a background: ``right`` (right referees), ``referees``, ``closeness``.

    ``closeness`` decides between equal accuracies. It says how near the true name is to the top, as a mean
    over the referees: minus the logarithm of its place if the answer is wrong, the confidence (0 to 1) if it
    is right; unknown counts as 0.
    """
    closeness = (
        pl.when("correct")
        .then(pl.col("confidence").cast(pl.Float64))
        .otherwise(-pl.col("true_rank").cast(pl.Float64).log1p())
    )
    return (
        predictions.filter(pl.col("background").is_not_null())
        .with_columns(closeness=closeness.fill_null(0.0))
        .group_by("path", maintain_order=True)
        .agg(
            pl.col("class_index", "class_name", "background", "cluster").first(),
            right=pl.col("correct").cast(pl.Int64).sum(),
            referees=pl.len(),
            closeness=pl.col("closeness").mean(),
        )
    )


def background_accuracy(predictions: pl.DataFrame) -> pl.DataFrame:
    """Return ``class_index, class_name, background, n, clusters, accuracy, low, high`` (fractions), sorted.

    Intervals are 95 % and allow for clusters; how alike their photos are is estimated from all cells. With
    several referees these are means, and the mean of their intervals is no narrower than the interval of
    their mean.
    """
    cells = predictions.filter(pl.col("background").is_not_null())
    by = ("class_index", "class_name", "background")
    rows = [
        (*key, found.n, found.clusters, found.value, found.low, found.high)
        for answers in cells.partition_by("model", maintain_order=True)
        for key, found in cell_accuracies(answers, by).items()
    ]
    frame = pl.DataFrame(rows, schema=_CELLS, orient="row")
    return (
        frame.group_by(by)
        .agg(pl.col("n", "clusters").first(), pl.col("accuracy", "low", "high").mean())
        .select(*_CELLS)
        .sort("class_index", "background")
    )


def split_halves(photos: pl.DataFrame, seed: int) -> pl.Series:
    """Assign whole clusters to two halves with class x background counts as similar as possible.

    Clusters (a photo without one is its own) are taken in random order, those of the largest order of
    magnitude first. Each goes where its classes and backgrounds are rarer; a coin decides ties. The larger
    half does not choose: reported figures are measured there. A cluster with several classes or backgrounds
    also stays on one side. Accuracy plays no part.

    Args:
        photos: rows with ``path``, ``class_index``, ``background`` and ``cluster``.
        seed: seed for the order and the coin.

    Returns:
        A Boolean series in the order of the rows: True for the half that chooses.
    """
    keyed = photos.select(
        cluster=pl.coalesce("cluster", "path"),
        background="background",
        cell=pl.concat_str("class_index", pl.lit("/"), "background", ignore_nulls=True),
    ).with_row_index("row")
    clusters = keyed.group_by("cluster", maintain_order=True).agg("row", "cell", "background")
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(clusters))
    magnitude = np.floor(np.log2(clusters["row"].list.len().to_numpy()))
    order = order[np.argsort(-magnitude[order], kind="stable")]
    balance: Counter[str] = Counter()
    chooses = np.zeros(len(photos), dtype=bool)
    for number in order.tolist():
        _, rows, cells, backgrounds = clusters.row(number)
        counts = Counter([*cells, *(f"background {name}" for name in backgrounds)])
        surplus = sum(balance[key] * count for key, count in counts.items())
        side = 1 if surplus < 0 or (surplus == 0 and rng.random() < 0.5) else -1
        for key, count in counts.items():
            balance[key] += side * count
        chooses[rows] = side == 1
    return pl.Series("chooses", ~chooses if chooses.mean() > 0.5 else chooses)


@dataclass(frozen=True)
class Tally:
    """Sums over photos, all ``[permutations, halves, classes, backgrounds]``.

    Attributes:
        photos: number of photos.
        right: right answers, over all referees; whole numbers, so equal shares are exactly equal.
        answers: photos times referees.
        closeness: see ``photos_seen``.
        blocks: blocks of photos that are not independent of each other, see ``Photos``.
        squares: sum over blocks of their squared accuracy times their photos.
    """

    photos: Floats
    right: Floats
    answers: Floats
    closeness: Floats
    blocks: Floats
    squares: Floats

    @property
    def accuracy(self) -> Floats:
        """The share that is right; 0 if there is no photo."""
        return ratio(self.right, self.answers)

    def half(self, number: int) -> Tally:
        """Return the sums of one half, ``[permutations, classes, backgrounds]``."""
        return Tally(*(values[:, number] for values in vars(self).values()))


class Photos:
    """Photos in blocks whose background labels can be exchanged if backgrounds do not matter.

    A block is the photos that share a cluster and a background (a photo without a cluster is a block). Their
    label moves as one, so what photos of one background photograph or observer have in common stays together.
    A block takes the label of another block of its half: one with the same class or, if blocks have several
    classes, one whose classes occur on the same backgrounds. A block of several classes without such a
    partner is split by class.

    Args:
        seen: rows from ``photos_seen``.
        half: half of each photo ``[n]``, numbered from 0.
        halves: number of halves.
    """

    def __init__(self, seen: pl.DataFrame, half: Ints, halves: int) -> None:
        self.classes = seen["class_index"].unique().sort()
        self.labels = seen["background"].unique().sort()
        self._class = _codes(seen["class_index"], self.classes)
        self._label = _codes(seen["background"], self.labels)
        self._half, self._halves = half, halves
        cluster = seen.select(pl.coalesce("cluster", "path")).to_series().rank("dense").to_numpy()
        block = _dense(cluster.astype(np.intp) * len(self.labels) + self._label)
        self._cut(block)
        stuck = ~self._movable & (self._classes_of_block > 1)
        if stuck.any():
            self._cut(_dense(np.where(stuck[block], block * len(self.classes) + self._class, -1 - block)))
        right, referees = seen["right"].to_numpy(), seen["referees"].to_numpy()
        values = (np.ones(len(seen)), right, referees, seen["closeness"].to_numpy())
        sums = [np.bincount(self._part, weights, minlength=len(self._block)) for weights in values]
        self._sums = (*sums, np.ones(len(self._block)), (sums[1] / sums[2]) ** 2 * sums[0])

    def _cut(self, block: Ints) -> None:
        """Index the blocks ``[n]``; a part is what a block has of one class."""
        blocks = int(block.max()) + 1
        parts, self._part = np.unique(block * len(self.classes) + self._class, return_inverse=True)
        self._block, self._class_of_part = np.divmod(parts, len(self.classes))
        self._classes_of_block = np.bincount(self._block, minlength=blocks)
        self._half_of_block, self._label_of_block, first = (np.zeros(blocks, np.intp) for _ in range(3))
        self._half_of_block[block], self._label_of_block[block] = self._half, self._label
        first[self._block] = self._class_of_part
        occurs = np.zeros((len(self.classes), len(self.labels)), np.intp)
        occurs[self._class, self._label] = 1
        common = np.zeros((blocks, len(self.labels)), np.intp)
        np.add.at(common, self._block, occurs[self._class_of_part])
        single = self._classes_of_block == 1
        common = np.where(single[:, None], 0, common == self._classes_of_block[:, None])
        alike = np.column_stack([self._half_of_block, np.where(single, first, -1), common])
        self._stratum = np.unique(alike, axis=0, return_inverse=True)[1].ravel()
        labels = np.zeros((int(self._stratum.max()) + 1, len(self.labels)), bool)
        labels[self._stratum, self._label_of_block] = True
        self._movable = (labels.sum(axis=1) > 1)[self._stratum]

    def observed(self) -> Ints:
        """Return the labels of the blocks as they are, ``[1, blocks]``."""
        return self._label_of_block[None]

    def permuted(self, times: int, seed: int) -> Iterator[Ints]:
        """Permute the labels of the blocks; yield ``[permutations, blocks]`` in chunks that fit in memory."""
        random = np.random.default_rng(seed)
        order = np.argsort(self._stratum, kind="stable")
        strata = np.split(order, np.flatnonzero(np.diff(self._stratum[order])) + 1)
        cells = self._halves * len(self.classes) * len(self.labels)
        rows = max(1, _CHUNK // max(cells, len(self._block)))
        for start in range(0, times, rows):
            labels = np.tile(self._label_of_block, (min(rows, times - start), 1))
            for blocks in strata:
                if self._movable[blocks[0]]:
                    labels[:, blocks] = random.permuted(labels[:, blocks], axis=1)
            yield labels

    def count(self, labels: Ints) -> Tally:
        """Count the photos with these labels of the blocks, ``[permutations, blocks]``."""
        shape = (len(labels), self._halves, len(self.classes), len(self.labels))
        place = self._half_of_block[self._block] * shape[2] + self._class_of_part
        size = int(np.prod(shape[1:]))
        cell = np.arange(shape[0])[:, None] * size + place * shape[3] + labels[:, self._block]
        every = (shape[0], len(self._block))
        sums = (
            np.bincount(cell.ravel(), np.broadcast_to(values, every).ravel(), minlength=shape[0] * size)
            for values in self._sums
        )
        return Tally(*(np.asarray(found, dtype=np.float64).reshape(shape) for found in sums))

    def variance(self, labels: Ints, counted: Tally, half: int, weights: Floats) -> Floats:
        """Return the sampling variance of a weighted sum of one half's accuracies, ``[permutations]``.

        It is the sum over blocks of their squared deviations, each enlarged for the block's share of its cell
        (CR2). In a cell of one block nothing scatters: the distance from the mean of its class stands in.

        Args:
            labels: labels of the blocks ``[permutations, blocks]``.
            counted: what ``count`` returns for them.
            half: the half whose photos are weighted.
            weights: weights of the accuracies ``[permutations, classes, backgrounds]``.
        """
        parts = np.flatnonzero(self._half_of_block[self._block] == half)
        if not len(parts):
            return np.zeros(len(labels))
        block, of_class, (photos, right, answers, *_) = (
            self._block[parts],
            self._class_of_part[parts],
            (sums[parts] for sums in self._sums),
        )
        of = counted.half(half)
        cell = np.arange(len(labels))[:, None], of_class, labels[:, block]
        accuracy, share = of.accuracy[cell], photos / of.photos[cell]
        alone = share > 1 - 1e-9
        of_all = ratio(of.right.sum(-1), of.answers.sum(-1))[:, of_class]
        away = np.where(alone, accuracy - of_all, (right / answers - accuracy) * share)
        away *= weights[cell] / np.sqrt(np.where(alone, 1.0, 1.0 - share))
        order = np.argsort(block, kind="stable")
        first = np.flatnonzero(np.diff(block[order], prepend=-1))
        of_block = np.add.reduceat(away[:, order], first, axis=1)
        variance: Floats = (of_block**2).sum(axis=1)
        return variance


def ratio(above: Floats, below: Floats) -> Floats:
    """Return the quotient, or 0 if the divisor is 0."""
    above, below = np.broadcast_arrays(above, below)
    return np.divide(above, below, out=np.zeros(above.shape), where=below > 0)


def _codes(values: pl.Series, known: pl.Series) -> Ints:
    return np.searchsorted(known.to_numpy(), values.to_numpy()).astype(np.intp)


def _dense(keys: npt.NDArray[np.integer]) -> Ints:
    codes: Ints = np.unique(keys, return_inverse=True)[1]
    return codes
