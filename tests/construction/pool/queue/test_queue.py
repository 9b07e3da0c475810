"""Which photo comes next for whom."""

import os
import subprocess
import sys
import threading
import time
import uuid

import polars as pl
import pytest

from counterground.construction.pool import LEASE_SECONDS, Queue, open_pool
from counterground.errors import UsageError


def names(batch):
    return [photo.path for photo in batch.photos]


def decide(queue, path, label, by="ann", task="background", **more):
    """Decide and return the token."""
    more = {"token": str(uuid.uuid4())} | more
    queue.pool.decide(path, annotator=by, task=task, labels=[label], **more)
    return more["token"]


def work_off(queue, annotator, task="background", label="water"):
    """Decide on everything that comes, one by one; return it in order."""
    seen = []
    while photos := queue.lease(annotator, task, count=1).photos:
        seen.append(photos[0].path)
        decide(queue, photos[0].path, label, by=annotator, task=task)
    return seen


FIRST = """
import sys
from counterground.construction.pool import Queue, open_pool
with open_pool(sys.argv[1]) as pool:
    print(*(photo.path for photo in Queue(pool).lease("ann", "review", count=8).photos), sep="\\n")
"""


def test_the_order_is_the_same_in_every_process(pool):
    first = names(Queue(pool).lease("ann", "review", count=8))
    for seed in "12":  # of Python's own hashes
        command = [sys.executable, "-c", FIRST, str(pool.root)]
        environment = os.environ | {"PYTHONHASHSEED": seed}
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert ran.stdout.splitlines() == first
    assert [path.split("/")[1] for path in first] != ["flamingo"] * 4 + ["ice_bear"] * 4


def shared(pool, share, task="background"):
    """The photos of which two annotators are given the same: what the second one gets after the first."""
    people = Queue(pool, second=share, annotators=["ann", "ben"])
    first, second = work_off(people, "ann", task, "keep" if task == "review" else "water"), []
    while photos := people.lease("ben", task, count=20).photos:
        second += [photo.path for photo in photos]
        for path in second[-len(photos) :]:
            decide(people, path, "keep" if task == "review" else "water", by="ben", task=task)
    assert set(second) <= set(first)
    assert people.lease("cyd", task).photos == []
    return second


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_the_share_for_two_is_exact_and_spread_over_the_classes(tmp_path, make_pool, share):
    sizes = {"many": 20, "some": 9, "few": 4, "fewer": 3, "least": 3}
    with make_pool(tmp_path / "pool", sizes) as pool:
        given = shared(pool, share)
    assert len(given) == round(share * 39)
    for name, photos in sizes.items():
        count = sum(f"/{name}/" in path for path in given)
        assert abs(count - share * photos) < 1 + 1e-9, name


def test_one_annotator_alone_awaits_nobody(pool):
    queue = Queue(pool, second=1, annotators=["ann"])
    work_off(queue, "ann")
    assert queue.lease("ann", "background").left == 0
    decide(queue, pool.photos()["path"][0], "sky", by="cyd", adjudicates=True)
    assert queue.lease("ann", "background").left == 0  # who adjudicates does not label
    both = Queue(pool, second=1, annotators=["ben"])  # whoever comes later is given the share
    assert len(names(both.lease("ben", "background", count=8))) == 7


def test_what_is_on_a_screen_is_not_given_to_another(pool):
    one, other = Queue(pool, second=0), Queue(open_pool(pool.root), second=0)
    mine, theirs = names(one.lease("ann", "review", count=4)), names(other.lease("ben", "review", count=8))
    assert set(mine) & set(theirs) == set()
    assert len(mine) + len(theirs) == 8
    assert names(one.lease("ann", "review", count=4)) == mine  # a page that is loaded again gets its own back


def test_a_lease_ends(pool, monkeypatch):
    queue = Queue(pool, second=0)
    held = names(queue.lease("ann", "review", count=8))
    assert names(queue.lease("ben", "review")) == []
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + LEASE_SECONDS - 1)
    queue.lease("ann", "review", count=0, leased=held[:2])  # the page is still there
    assert names(queue.lease("ben", "review", count=8)) == []
    monkeypatch.setattr(time, "time", lambda: now + LEASE_SECONDS + 1)
    free = names(queue.lease("ben", "review", count=8))
    assert set(free) == set(held[2:])
    back = queue.lease("ann", "review", count=0, leased=held)
    assert set(back.revoked) == set(free)


def test_a_decision_gives_the_photo_back_and_an_undo_takes_it(pool):
    queue = Queue(pool, second=0)
    path = names(queue.lease("ann", "review", count=1))[0]
    decide(queue, path, "keep", task="review")
    assert path not in names(queue.lease("ben", "review", count=8))
    queue.release(["ben"])
    photo, labels = queue.undo("ann", "review", of=None, token=str(uuid.uuid4()))
    assert (photo.path, labels) == (path, ["keep"])
    assert path not in names(queue.lease("ben", "review", count=8))  # it is on ann's screen again


def test_undo_names_its_decision_once(pool):
    queue = Queue(pool)
    path = names(queue.lease("ann", "review", count=1))[0]
    token, undo = str(uuid.uuid4()), str(uuid.uuid4())
    decide(queue, path, "keep", task="review", token=token)
    for _ in range(2):  # the second time the answer was lost
        assert queue.undo("ann", "review", of=token, token=undo)[0].path == path
    assert len(pool.decisions()) == 2
    with pytest.raises(UsageError, match="that 'ann' can undo"):
        queue.undo("ann", "review", of=token, token=str(uuid.uuid4()))
    with pytest.raises(UsageError, match="no decision"):
        queue.undo("ann", "review", of="another", token=str(uuid.uuid4()))
    other = decide(queue, path, "keep", task="review")
    with pytest.raises(UsageError, match="that 'ben' can undo"):
        queue.undo("ben", "review", of=other, token=str(uuid.uuid4()))
    assert queue.undo("ben", "review", of=None, token=str(uuid.uuid4())) is None


def test_postponed_photos_come_last_the_longest_waiting_first(pool):
    queue = Queue(pool, second=0)
    order = names(queue.lease("ann", "background", count=8))
    for path in (order[3], order[0]):
        decide(queue, path, "later")
    batch = queue.lease("ann", "background", count=8)
    kept = [path for path in order if path not in (order[3], order[0])]
    assert names(batch) == [*kept, order[3], order[0]]
    assert [photo.postponed for photo in batch.photos] == [False] * 6 + [True] * 2
    decide(queue, order[3], "later")
    assert names(queue.lease("ann", "background", count=8))[-2:] == [order[0], order[3]]
    assert (batch.done, batch.left) == (0, 8)


def test_backgrounds_are_asked_of_photos_that_stand(pool):
    queue = Queue(pool, second=1)
    kept, dropped, disputed, adjudicated, *_ = pool.photos()["path"].to_list()
    for path, labels in (
        (kept, ["keep", "keep"]),
        (dropped, ["clarity", "duplicate"]),
        (disputed, ["keep", "clarity"]),
        (adjudicated, ["keep", "clarity"]),
    ):
        for name, label in zip(("ann", "ben"), labels, strict=True):
            decide(queue, path, label, by=name, task="review")
    decide(queue, adjudicated, "keep", by="cyd", task="review", adjudicates=True)
    waiting = names(queue.lease("ann", "background", count=8))
    assert set(pool.photos()["path"]) - set(waiting) == {dropped, disputed}
    assert set(waiting) == set(pool.freeze().photos["path"])


def test_ranked_reviews_begin_with_what_is_most_doubtful(pool):
    paths = pool.photos()["path"].to_list()
    row = {
        "signal": "blur",
        "reason": "feature noise",
        "value": 1.0,
        "explanation": "Blurred.",
        "related": None,
    }
    strengths = {paths[6]: (True, 0.4), paths[2]: (True, 0.9), paths[0]: (False, 0.3)}
    pool.write_signals(
        pl.DataFrame([row | {"path": p, "flagged": f, "priority": s} for p, (f, s) in strengths.items()])
    )
    queue = Queue(pool, order="ranked")
    assert names(queue.lease("ann", "review", count=8))[:2] == [paths[2], paths[6]]
    assert names(queue.lease("ann", "background", count=8)) == names(
        Queue(pool).lease("ann", "background", count=8)
    )
    assert [flag["explanation"] for flag in queue.flags(paths)[paths[2]]] == ["Blurred."]
    assert paths[0] not in queue.flags(paths)


def test_servers_side_by_side_share_the_work(tmp_path_factory, make_pool):
    root = make_pool(tmp_path_factory.mktemp("many") / "pool", {"flamingo": 150}).root
    seen, fault, all_here = [], [], threading.Barrier(3)

    def work(name):
        try:
            queue = Queue(open_pool(root), second=0)
            path = queue.lease(name, "background", count=1).photos[0].path
            all_here.wait()  # each has a photo in hand before any decides
            decide(queue, path, "water", by=name)
            seen.extend([path, *work_off(queue, name)])
        except Exception as error:  # told to the test below
            fault.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("ann", "ben", "cyd")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert fault == []
    assert len(seen) == len(set(seen)) == 150
    decisions = open_pool(root).decisions()
    assert len(decisions) == 150
    assert decisions["annotator"].n_unique() == 3
