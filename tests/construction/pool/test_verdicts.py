"""What stands in a pool is one thing, whoever asks: verdicts, the benchmark, the queue, and the summary."""

import uuid
from collections import Counter

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterground.construction.pool import Queue
from counterground.construction.pool_page import summarise_pool
from counterground.errors import CounterGroundError

ANNOTATORS = ("ann", "ben", "cyd")
LABELS = {
    "review": ("keep", "clarity", "duplicate", "later", "later"),
    "background": ("snow", "sky", "later"),
}


def decide(pool, path, label, by="ann", task="review", **more):
    return pool.decide(path, annotator=by, task=task, labels=[label], **more)


def verdict(pool, path, task="review"):
    row = pool.verdicts(task).row(by_predicate=pl.col("path") == path, named=True)
    return row["status"], row["label"], row["stands"]


@pytest.fixture
def path(pool):
    """A photo on which two annotators disagree."""
    path = pool.photos()["path"][0]
    decide(pool, path, "keep")
    decide(pool, path, "clarity", by="ben")
    return path


@pytest.mark.parametrize("last", ["cyd", "dan"])
def test_later_reopens_what_anyone_has_adjudicated(pool, path, last):
    decide(pool, path, "keep", by="cyd", adjudicates=True)
    assert verdict(pool, path) == ("adjudicated", "keep", True)
    decide(pool, path, "later", by=last, adjudicates=True)
    assert verdict(pool, path) == ("disagreed", None, False)
    assert path not in pool.freeze().photos["path"].to_list()
    assert [photo.path for photo, _ in Queue(pool).disagreements("review")] == [path]
    pool.undo(last, "review", adjudicates=True)
    assert verdict(pool, path) == ("adjudicated", "keep", True)


steps = st.tuples(
    st.sampled_from(("decide", "decide", "adjudicate", "adjudicate", "undo last", "undo any")),
    st.integers(0, 1),
    st.sampled_from(ANNOTATORS),
    st.sampled_from(("review", "background")),
    st.integers(0, 14),
)


class Expected:
    """What stands, worked out event by event and without the database."""

    def __init__(self):
        self.log = []  # [token, path, annotator, task, label, adjudicates, undone]

    def verdict(self, path, task):
        votes, adjudications = {}, []
        for _, at, who, of, label, adjudicates, undone in self.log:
            if (at, of, undone) == (path, task, False):
                if adjudicates:
                    adjudications.append(label)
                else:
                    votes.pop(who, None)  # counts as the last one to decide
                    votes[who] = label
        given = [label for label in votes.values() if label != "later"]
        if adjudications and adjudications[-1] != "later":
            return "adjudicated", adjudications[-1]
        if not given:
            return "none", None
        if len({label == "keep" for label in given} if task == "review" else set(given)) > 1:
            return "disagreed", None
        return ("single" if len(given) == 1 else "agreed"), given[0]

    def stands(self, path):
        status, label = self.verdict(path, "review")
        return status == "none" or label == "keep"


def play(step, pool, queue, paths, expected):
    """Do one step in the pool and in the model."""
    kind, place, who, task, number = step
    path, token = paths[place], str(uuid.uuid4())
    if kind.startswith("undo"):
        mine = [event for event in expected.log if event[3] == task and not event[6]]
        mine = [e for e in mine if e[2] == who and not e[5]] if kind == "undo last" else mine
        event = mine[-1 if kind == "undo last" else number % len(mine)] if mine else None
        of = None if kind == "undo last" or event is None else event[0]
        name = who if event is None else event[2]
        found = queue.undo(name, task, of=of, token=token)
        assert (found is None) == (event is None)
        if event:
            event[6] = True
        return
    label = LABELS[task][number % len(LABELS[task])]
    adjudicates = kind == "adjudicate"
    pool.decide(path, token=token, annotator=who, task=task, labels=[label], adjudicates=adjudicates)
    expected.log.append([token, path, who, task, label, adjudicates, False])


@pytest.mark.slow
@settings(max_examples=30)
@given(st.lists(steps, min_size=1, max_size=30))
def test_verdicts_benchmark_queue_and_summary_agree(make_pool, tmp_path_factory, played):
    folder = tmp_path_factory.mktemp("random") / "pool"
    with make_pool(folder, {"ice bear": 1, "flamingo": 1}) as pool:
        queue, expected, paths = Queue(pool, second=1), Expected(), pool.photos()["path"].to_list()
        for step in played:
            play(step, pool, queue, paths, expected)
            check_queue(queue, paths, expected)  # brought up to date with every event
        check_queue(Queue(pool, second=1), paths, expected)
        check_frames(pool, paths, expected)


def check_queue(queue, paths, expected):
    standing = [path for path in paths if expected.stands(path)]
    for task, asked in (("review", paths), ("background", standing)):
        verdicts = {path: expected.verdict(path, task)[0] for path in asked}
        disagreed = [path for path, status in verdicts.items() if status == "disagreed"]
        assert [photo.path for photo, _ in queue.disagreements(task)] == disagreed
        waiting = {photo.path for photo in queue.lease("dan", task, count=9).photos}
        settled = {path for path, status in verdicts.items() if status == "adjudicated"}
        assert waiting <= set(asked) - settled
        queue.release(["dan"])


def check_frames(pool, paths, expected):
    for task in LABELS:
        rows = pool.verdicts(task).select("path", "status", "label").rows()
        assert rows == [(path, *expected.verdict(path, task)) for path in paths]
    standing = [path for path in paths if expected.stands(path)]
    assert pool.verdicts("review").filter("stands")["path"].to_list() == standing
    if standing:
        frozen = pool.freeze().photos
        assert frozen["path"].to_list() == standing
        assert frozen["background"].to_list() == [expected.verdict(p, "background")[1] for p in standing]
    else:
        with pytest.raises(CounterGroundError, match="no photo to keep"):
            pool.freeze()
    summary = summarise_pool(pool)
    sides = Counter(expected.verdict(path, "review")[0] for path in paths)
    assert summary.total("disagreed") == sides["disagreed"]
    assert summary.total("undecided") == sides["none"]
    assert summary.total("kept") + summary.total("undecided") == len(standing)
    backgrounds = [expected.verdict(path, "background") for path in standing]
    assert summary.total("labelled") == sum(label is not None for _, label in backgrounds)
    assert summary.total("unsettled") == sum(status == "disagreed" for status, _ in backgrounds)
