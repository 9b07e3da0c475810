"""Labelling as an annotator does it: keys, clicks, second thoughts."""

import polars as pl


def standing(pool, task="background"):
    """Paths and labels of decisions that stand, in the order in which they were made."""
    rows = pool.decisions().filter(pl.col("undoes").is_null() & ~pl.col("undone") & (pl.col("task") == task))
    return [(row["path"], row["labels"]) for row in rows.iter_rows(named=True)]


def test_undo_goes_back_and_shows_what_was_chosen(pool, serve, visit):
    ann = visit(serve(pool).links["ann"])
    first = ann.see()
    ann.press("w")
    second = ann.shown()
    ann.press("g")
    ann.press("u")
    assert ann.shown() == second
    assert "Before: ground" in ann.page.inner_text("#before")
    ann.press("u")
    assert ann.shown() == first
    ann.press("s")
    assert ann.shown() == second
    ann.press("Enter")  # what was undone there still stands in the note: Enter keeps it
    ann.saved()
    assert [labels for _, labels in standing(pool)] == [["sand"], ["ground"]]
    assert pool.decisions()["undone"].sum() == 2
    assert len(pool.decisions()) == 6

    # After a reload only the server knows what was last.
    ann.page.reload()
    ann.see()
    ann.press("u")
    assert ann.shown() == second
    ann.saved()
    assert len(standing(pool)) == 1


def test_two_disagree_and_one_adjudicates(pool, serve, visit):
    paths = pool.photos()["path"].to_list()
    for name, labels in (("ann", ["water"]), ("ben", ["grass", "tree"])):
        for path in paths[:2]:
            pool.decide(path, annotator=name, task="background", labels=labels)
    ann = visit(serve(pool, annotators=["cyd"]).links["cyd"])
    ann.page.goto(ann.page.url.replace("label", "disagreements"))
    ann.see()
    answers = [" ".join(text.split()) for text in ann.page.locator(".vote").all_inner_texts()]
    assert [answer[:10] for answer in answers] == ["1 Answer 1", "2 Answer 2"]
    assert sorted(answer.split(": ")[1] for answer in answers) == ["grass, tree", "water"]
    assert "ann" not in ann.page.inner_text("main")
    assert "ben" not in ann.page.inner_text("main")
    ann.press("s")
    ann.page.get_by_role("button", name="grass, tree").click()
    ann.page.wait_for_selector("#end:not([hidden])")
    ann.saved()
    verdicts = pool.verdicts("background").filter(pl.col("status") == "adjudicated")
    assert verdicts["labels"].to_list() == [["sand"], ["grass", "tree"]]

    ann.page.reload()
    ann.page.wait_for_selector("#end:not([hidden])")
    ann.page.keyboard.press("u")  # what was last is asked of again, with the answers
    ann.see()
    assert ann.page.locator(".vote").count() == 2
    assert pool.verdicts("background")["status"].to_list()[:2] == ["adjudicated", "disagreed"]


def test_blind_pages_show_nothing_that_others_or_models_found(pool, serve, visit):
    for path in pool.photos()["path"]:
        pool.decide(path, annotator="secretive", task="review", labels=["clarity"])
    flag = {
        "signal": "blur", "reason": "feature noise", "value": 1.0, "flagged": True, "priority": 0.9,
        "explanation": "Blurred beyond telling.", "related": None,
    }  # fmt: skip
    worst = pool.photos()["path"][5]
    pool.write_signals(pl.DataFrame([flag | {"path": worst}]))
    ann = visit(serve(pool, "--task", "review", "--second", "1").links["ann"])
    ann.see()
    answers = []
    ann.page.on("response", lambda answer: "/api/" in answer.url and answers.append(answer.text()))
    ann.page.reload()
    ann.see()
    assert any(worst in answer for answer in answers)
    everything = ann.page.content() + "".join(answers)
    assert "secretive" not in everything
    assert "Blurred" not in everything
    ann.context.close()

    ranked = visit(serve(pool, "--task", "review", "--second", "1", "--order", "ranked").links["ann"])
    ranked.see()
    assert "Blurred beyond telling." in ranked.page.inner_text("#flags")
    assert "not blind" in ranked.page.inner_text(".bias")
    ranked.press("k")
    ranked.saved()
    assert standing(pool, "review")[-1] == (worst, ["keep"])
