"""Servers that are killed, answers that are lost, annotators side by side: every decision is there once."""

import re
from pathlib import Path

import polars as pl
import pytest

DRIVER = Path(__file__).with_name("driver.js").read_text()


def labels_of(row):
    return ["ground", "water", "earth", "sand", "snow"][row % 5]


def events(pool):
    decisions = pool.decisions()
    return decisions.filter(pl.col("undoes").is_null()), decisions.filter(pl.col("undoes").is_not_null())


def check_labels(pool):
    """Every decision is about the photo that was on screen."""
    row = {path: number + 1 for number, path in enumerate(pool.photos()["path"])}
    made, _ = events(pool)
    for path, labels in made.select("path", "labels").iter_rows():
        assert labels in (["later"], [labels_of(row[path])])


@pytest.mark.slow
def test_two_annotators_at_once_and_hundreds_of_actions(tmp_path, make_pool, serve, visit):
    pool = make_pool(tmp_path / "pool", {"flamingo": 150, "ice bear": 150})
    servers = [serve(pool, "--second", "0", annotators=[name]) for name in ("ann", "ben")]
    people = [visit(server.links[name]) for server, name in zip(servers, ("ann", "ben"), strict=True)]
    for person in people:
        person.see()
    for person in people:
        person.page.evaluate(DRIVER, 150)
    for person in people:
        person.page.wait_for_function("() => window.made.over", timeout=60_000)
        person.saved()
    made, undone = events(pool)
    counted = [person.page.evaluate("window.made") for person in people]
    assert sum(one["decide"] + one["undo"] for one in counted) == 300
    assert len(made) == sum(one["decide"] for one in counted)
    assert len(undone) == sum(one["undo"] for one in counted)
    assert pool.decisions()["token"].n_unique() == 300
    for person, name in zip(counted, ("ann", "ben"), strict=True):
        assert made.filter(pl.col("annotator") == name).height == person["decide"]
    verdicts = pool.verdicts("background")
    standing = made.filter(~pl.col("undone") & (pl.col("labels") != ["later"]))
    assert verdicts["annotators"].max() == 1  # nobody was given what the other one had
    assert (
        verdicts.filter(pl.col("status") == "single").height == standing["path"].n_unique() == len(standing)
    )
    check_labels(pool)


def test_a_killed_server_loses_no_decision(tmp_path, make_pool, serve, visit):
    pool = make_pool(tmp_path / "pool", {"flamingo": 12})
    server = serve(pool, "--second", "0")
    ann = visit(server.links["ann"], outages=True)
    ann.see()
    for key in "wg":
        ann.press(key)
    ann.saved()
    server.kill()
    for key in "srn":  # the photos that were fetched ahead can still be decided on
        ann.press(key)
    ann.page.wait_for_selector("#saved[data-state=away]")
    kept = "() => Object.keys(localStorage).filter(key => key.includes(':events:')).length"
    assert ann.page.evaluate(kept) == 3

    again = serve(pool, "--second", "0")
    assert again.port == server.port  # what a browser keeps, it keeps by address
    second = ann.context.new_page()
    second.goto(again.links["ann"])
    second.wait_for_selector(".choice:enabled")
    second.wait_for_function(f"() => ({kept})() === 0")
    second.reload()  # the other page may have sent them, which this one would not know
    second.wait_for_function("() => document.querySelector('#count').innerText.startsWith('5 of 12')")
    assert [labels[0] for labels in pool.decisions()["labels"]] == [
        "water",
        "ground",
        "sand",
        "grass",
        "snow",
    ]
    assert pool.decisions()["path"].n_unique() == 5
    ann.page.wait_for_selector("dialog:modal")  # two pages of one annotator do not decide side by side
    assert "Open in another tab" in ann.page.inner_text("dialog:modal")


def test_an_answer_that_is_lost_is_asked_for_again(pool, serve, visit):
    ann = visit(serve(pool).links["ann"], outages=True)
    ann.see()
    dropped = []

    def lose(route):
        if len(dropped) < 3:  # the server writes, and the page never hears of it
            dropped.append(ann.context.request.post(
                route.request.url, data=route.request.post_data,
                headers={"Content-Type": "application/json", "Origin": route.request.headers["origin"]},
            ).json())  # fmt: skip
            return route.abort()
        return route.continue_()

    ann.page.route("**/api/events", lose)
    ann.press("w")
    ann.page.wait_for_selector("#saved[data-state=away]")
    ann.press("s")
    ann.saved()
    assert all(result["ok"] for answer in dropped for result in answer["results"])
    assert pool.decisions()["labels"].to_list() == [["water"], ["sand"]]


def test_what_is_not_accepted_is_shown_and_kept_until_it_is_dropped(pool, serve, visit):
    ann = visit(serve(pool).links["ann"])
    ann.see()
    pool.set_setting("background_labels", ["moss", "lichen"])  # somebody changed the labels meanwhile
    ann.press("w")
    ann.page.wait_for_selector("#saved[data-state=refused]")
    ann.page.get_by_role("button", name="1 not accepted").click()
    assert "'water' is not a label of background" in ann.page.inner_text("#trouble")
    ann.page.keyboard.press("Escape")
    pool.set_setting("background_labels", ["moss", "water"])
    ann.page.reload()
    ann.see()
    ann.page.get_by_role("button", name="1 not accepted").click()
    ann.page.get_by_role("button", name="Try again").click()
    ann.saved()
    assert pool.decisions()["labels"].to_list() == [["water"]]


def test_who_signs_in_as_another_does_not_decide_under_the_wrong_name(pool, serve, visit):
    server = serve(pool, "--second", "1", annotators=["ann", "ben"])
    ann = visit(server.links["ann"], outages=True)
    ann.see()
    ben = ann.context.new_page()
    ben.goto(server.links["ben"])
    ben.wait_for_selector(".choice:enabled")
    ann.press("w")
    ann.page.wait_for_selector("#saved[data-state=away]")
    assert "ben is now signed in in this browser, not ann" in ann.page.inner_text("#away")
    assert len(pool.decisions()) == 0


def test_what_others_decided_while_a_page_slept_is_put_aside(pool, serve, visit):
    ann = visit(serve(pool, "--second", "0").links["ann"])
    ann.see()
    with pool.connect() as connection:  # as after minutes in which nothing was heard of the page
        connection.execute("DELETE FROM lease")
    path = pool.photos()["path"].to_list()
    row = int(re.search(r"\d+", ann.shown())[0])
    pool.decide(path[row - 1], annotator="ben", task="background", labels=["snow"])
    before = ann.shown()
    ann.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    ann.page.wait_for_function(
        "was => document.querySelector('.view img').getAttribute('src') !== was", arg=before
    )
    for _ in range(6):
        ann.press("w")
    ann.page.keyboard.press("w")
    ann.page.wait_for_selector("#end:not([hidden])")
    ann.saved()
    assert pool.verdicts("background")["annotators"].to_list() == [1] * 8


def test_an_undo_that_waits_is_of_what_was_decided_before_it(pool, serve, visit):
    ann = visit(serve(pool).links["ann"], outages=True)
    first = ann.see()
    ann.press("w")
    ann.saved()
    ann.page.reload()  # only the server knows now what was last
    ann.see()
    ann.page.wait_for_timeout(300)
    ann.context.set_offline(True)
    ann.press("l")
    ann.press("u")
    ann.page.keyboard.press("u")
    ann.press("s")
    ann.context.set_offline(False)
    ann.page.wait_for_function(
        "first => document.querySelector('.view img').getAttribute('src') === first", arg=first
    )
    ann.saved()
    made, _ = events(pool)
    assert made.filter(~pl.col("undone"))["labels"].to_list() == [["sand"]]
