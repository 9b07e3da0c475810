"""Servers that are killed, answers that are lost, annotators side by side: every decision is there once."""


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
