"""Whose turn it is: hosts take turns, busy ones rest, and one address does not hold up the others."""

import pytest

from counterground.http import DownloadSettings, FetchError, HostQueue, Task


def tasks(*urls):
    return [Task(url, None) for url in urls]


def test_hosts_take_turns_and_rest_alone():
    hosts = HostQueue(
        tasks("http://a/1", "http://a/2", "http://a/3", "http://b/1"), DownloadSettings(per_host=1)
    )
    first, second = hosts.take(1.0), hosts.take(1.0)
    assert (first.url, second.url) == ("http://a/1", "http://b/1")
    assert hosts.take(1.0) is None
    assert hosts.ready_at() is None
    assert hosts.fail(first, FetchError("busy", again=True, busy=True, wait=10.0), 2.0) == []
    assert hosts.take(11.9) is None
    assert hosts.ready_at() == 12.0
    hosts.finish(second)
    assert hosts.take(12.0) is first


def test_refusals_of_one_round_count_once_and_photos_are_given_up_before_hosts():
    hosts = HostQueue(
        tasks(*(f"http://a/{n}" for n in range(9))), DownloadSettings(per_host=3, tries=2, first_pause=1.0)
    )
    busy = FetchError("busy", again=True, busy=True)

    def round_at(now):
        started = [hosts.take(now) for _ in range(3)]
        return [[left.url for left, _ in hosts.fail(task, busy, now + 0.1)] for task in started]

    assert round_at(1.0) == [[], [], []]
    assert hosts.ready_at() == pytest.approx(2.1)
    assert round_at(10.0) == [["http://a/0"], ["http://a/1"], ["http://a/2"]]
    assert hosts.ready_at() == pytest.approx(12.1)
    assert round_at(20.0) == [[f"http://a/{n}" for n in (3, 6, 7, 8)], ["http://a/4"], ["http://a/5"]]
    assert hosts.take(99.0) is None


def test_one_photo_a_host_has_no_time_for_does_not_hold_up_the_others():
    hosts = HostQueue(tasks(*(f"http://a/{n}" for n in range(40))), DownloadSettings(per_host=1))
    now, left = 0.0, []
    while (task := hosts.take(now)) is not None or hosts.ready_at() is not None:
        if task is None:
            now = hosts.ready_at()
        elif task.url == "http://a/0":
            left += hosts.fail(task, FetchError("busy", again=True, busy=True), now)
        else:
            hosts.finish(task)
    assert [(one.url, reason) for one, reason in left] == [("http://a/0", "busy (4 tries)")]
    assert now < 60
