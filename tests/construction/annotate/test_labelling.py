"""Labelling as an annotator does it: keys, clicks, second thoughts."""

import json
import re

import polars as pl
import pytest
from PIL import Image


def standing(pool, task="background"):
    """Paths and labels of decisions that stand, in the order in which they were made."""
    rows = pool.decisions().filter(pl.col("undoes").is_null() & ~pl.col("undone") & (pl.col("task") == task))
    return [(row["path"], row["labels"]) for row in rows.iter_rows(named=True)]


def test_a_key_decides_and_the_next_photo_comes(pool, serve, visit):
    ann = visit(serve(pool).links["ann"])
    first = ann.see()
    assert ann.page.inner_text("h1") == "flamingo"  # classes come one after the other
    for key in "wgs":
        ann.press(key)
    assert ann.shown() != first
    assert ann.page.inner_text("#count").startswith("3 of 8")
    ann.saved()
    assert [labels for _, labels in standing(pool)] == [["water"], ["ground"], ["sand"]]
    assert pool.decisions()["seconds"].min() >= 0
    assert pool.decisions()["suggestion"].null_count() == 3
    assert len({path for path, _ in standing(pool)}) == 3


def test_clicks_work_like_keys(pool, serve, visit):
    ann = visit(serve(pool, "--task", "review").links["ann"])
    ann.see()
    for name in ("keep", "clarity"):
        before = ann.shown()
        ann.page.get_by_role("button", name=name).click()
        ann.page.wait_for_function(
            "was => document.querySelector('.view img').getAttribute('src') !== was", arg=before
        )
    ann.page.get_by_role("button", name="Several", exact=True).click()
    for name in ("keep", "label noise", "ambiguity"):  # a photo is kept or discarded, never both
        ann.page.get_by_role("button", name=name).click()
    ann.page.get_by_role("button", name="Confirm").click()
    ann.saved()
    assert [labels for _, labels in standing(pool, "review")] == [
        ["keep"], ["clarity"], ["label noise", "ambiguity"]
    ]  # fmt: skip


def test_several_labels_by_shift(pool, serve, visit):
    ann = visit(serve(pool).links["ann"])
    ann.see()
    ann.page.keyboard.press("Shift+W")
    ann.page.keyboard.press("Shift+G")
    ann.page.keyboard.press("Shift+S")
    ann.page.keyboard.press("Shift+G")  # and off again
    assert ann.page.get_attribute("[data-label=sand]", "data-place") == "2"
    ann.press("Enter")
    ann.page.keyboard.press("Shift+W")
    ann.press("r")  # a plain key is the main label, whatever else was chosen before
    ann.page.keyboard.press("Shift+W")
    ann.page.keyboard.press("Escape")
    ann.press("r")
    ann.saved()
    assert [labels for _, labels in standing(pool)] == [["water", "sand"], ["grass", "water"], ["grass"]]


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


def test_postponed_photos_come_last_and_again(pool, serve, visit):
    ann = visit(serve(pool).links["ann"])
    first = ann.see()
    ann.press("l")
    second = ann.shown()
    ann.press("Space")
    for _ in range(6):
        ann.press("w")
    assert ann.shown() == first
    ann.press("l")
    assert ann.shown() == second
    ann.press("l")
    assert ann.shown() == first
    ann.press("w")
    ann.press("w")
    ann.page.wait_for_selector("#end:not([hidden])")
    ann.saved()
    verdicts = pool.verdicts("background")
    assert set(verdicts["status"]) == {"single"}
    assert pool.decisions().filter(pl.col("labels") == ["later"]).height == 4


def test_the_end_says_what_comes_next(pool, serve, visit):
    server = serve(pool, "--second", "1", annotators=["ann", "ben"])
    ann = visit(server.links["ann"])
    ann.see()
    for _ in range(7):
        ann.press("w")
    ann.page.keyboard.press("w")
    ann.page.wait_for_selector("#end:not([hidden])")
    text = ann.page.inner_text("#end")
    ann.page.wait_for_selector("#end .remaining:not([hidden])")
    assert "You decided on 8 photos in this session" in text
    assert f"counterground discover {pool.root} --referee MODEL --out BENCHMARK" in text
    assert "8 of your photos await a second annotator" in ann.page.inner_text("#end .remaining")
    assert ann.page.locator("#end .disputed").is_hidden()
    printed = server.stop()
    assert f"8 decisions (ann 8, ben 0). Snapshot: {pool.root / 'photos.parquet'}" in printed
    assert pl.read_parquet(pool.root / "photos.parquet")["background"].to_list() == ["water"] * 8


def test_tasks_can_be_switched_and_backgrounds_are_asked_of_what_stands(pool, serve, visit):
    ann = visit(serve(pool, "--task", "review").links["ann"])
    ann.see()
    for key in "nfkkkkkk":
        ann.page.keyboard.press(key)
        ann.page.wait_for_timeout(60)
    ann.page.wait_for_selector("#end:not([hidden])")
    ann.page.get_by_role("link", name="Label the backgrounds now").click()
    ann.see()
    assert ann.page.inner_text("#count").startswith("0 of 6")


def test_two_disagree_and_one_adjudicates(pool, serve, visit):
    paths = pool.photos()["path"].to_list()
    for name, labels in (("ann", ["water"]), ("ben", ["grass", "tree"])):
        for path in paths[:2]:
            pool.decide(path, annotator=name, task="background", labels=labels)
    ann = visit(serve(pool, annotators=["cyd"]).links["cyd"])
    ann.page.goto(ann.page.url.replace("label", "disagreements"))
    ann.see()
    answers = [" ".join(text.split()) for text in ann.page.locator(".vote").all_inner_texts()]
    assert [answer[:8] for answer in answers] == ["1 First:", "2 Second"]
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
    ann.page.get_by_text("Adjudicated: 2").click()
    ann.page.get_by_role("button", name="Undo: flamingo, grass, tree").click()
    ann.see()
    assert pool.verdicts("background")["status"].to_list()[:2] == ["adjudicated", "disagreed"]


def test_the_end_of_the_disagreements_waits_for_the_last_decision(pool, serve, visit):
    path = pool.photos()["path"][0]
    for name, label in (("ann", "water"), ("ben", "sand")):
        pool.decide(path, annotator=name, task="background", labels=[label])
    cyd = visit(serve(pool, annotators=["cyd"]).links["cyd"], outages=True)
    cyd.page.goto(cyd.page.url.replace("label", "disagreements"))
    cyd.see()
    cyd.context.set_offline(True)
    cyd.page.keyboard.press("1")
    cyd.page.get_by_text("Waiting until the last decision is saved").wait_for()
    assert cyd.shown() == ""
    assert cyd.page.locator(".choice:enabled, .vote").count() == 0
    cyd.context.set_offline(False)
    cyd.page.wait_for_selector("#end:not([hidden])")
    cyd.saved()
    assert pool.verdicts("background")["status"][0] == "adjudicated"


def test_who_undoes_an_adjudication_after_somebody_else_is_told(pool, serve, visit):
    paths = pool.photos()["path"][:2].to_list()
    for path in paths:
        for name, label in (("ann", "water"), ("ben", "sand")):
            pool.decide(path, annotator=name, task="background", labels=[label])
    made = [
        pool.decide(path, annotator="dan", task="background", labels=["sand"], adjudicates=True)
        for path in paths
    ]
    cyd = visit(serve(pool, annotators=["cyd"]).links["cyd"])
    cyd.page.goto(cyd.page.url.replace("label", "disagreements"))
    cyd.page.get_by_text("Adjudicated: 2").click()
    pool.undo("dan", "background", of=made[0])
    cyd.page.locator(f"[data-id='{made[0]}']").click()
    cyd.page.get_by_text("That decision was undone before.").wait_for()
    assert cyd.page.locator(".undo-adjudication").count() == 1


def test_all_adjudications_are_counted_and_the_last_are_listed(tmp_path, make_pool, serve, visit):
    pool = make_pool(tmp_path / "pool", {"flamingo": 203})
    settled = {"task": "background", "labels": ["sand"], "adjudicates": True}
    pool.decide_all([settled | {"path": path, "annotator": "ben"} for path in pool.photos()["path"]])
    cyd = visit(serve(pool, annotators=["cyd"]).links["cyd"])
    cyd.page.goto(cyd.page.url.replace("label", "disagreements"))
    assert cyd.page.inner_text(".adjudicated summary") == "Adjudicated: 203, the last 200 below"
    assert cyd.page.locator(".undo-adjudication").count() == 200


@pytest.mark.parametrize("task", ["background", "review"])
def test_every_key_that_is_shown_stores_what_stands_beside_it(tmp_path, make_pool, serve, visit, task):
    given = {"background": (["shrub"], ["water", "ground"]), "review": (["keep"], ["clarity", "duplicate"])}
    pool = make_pool(tmp_path / "pool", {"flamingo": 17})
    for path in pool.photos()["path"]:
        for name, labels in zip(("ann", "ben"), given[task], strict=True):
            pool.decide(path, annotator=name, task=task, labels=labels)
    cyd = visit(serve(pool, annotators=["cyd"]).links["cyd"])
    cyd.page.goto(re.sub("/label/.*", f"/disagreements/{task}", cyd.page.url))
    expected, keys = [], set()
    place, buttons = 0, ".vote, .choice"
    while True:
        cyd.see()
        shown = cyd.page.locator(buttons).evaluate_all("""all => all.map(e => ({
          key: e.querySelector("kbd")?.textContent,
          labels: e.dataset.label ? [e.dataset.label] : e.querySelector("b").textContent.split(", ")}))""")
        assert len({one["key"] for one in shown} - {None}) == len(shown)  # no two the same
        keys = keys or {one["key"] for one in shown}
        expected.append(shown[place]["labels"])
        place += 1
        if place == len(shown):
            break
        cyd.press(shown[place - 1]["key"])
    cyd.page.keyboard.press(shown[place - 1]["key"])
    cyd.saved()
    assert [labels for _, labels in standing(pool, task)[-place:]] == expected
    assert {"1", "2"} <= keys
    assert not keys & {"l", "u", "z"}


def test_disagreements_come_before_the_next_step(pool, serve, visit):
    first, second, *_ = pool.photos()["path"].to_list()
    for name, label, kept in (("ben", "water", "keep"), ("cyd", "sand", "clarity")):
        pool.decide(first, annotator=name, task="background", labels=[label])
        pool.decide(second, annotator=name, task="review", labels=[kept])
    ann = visit(serve(pool, "--second", "0").links["ann"])
    ann.see()
    for _ in range(5):
        ann.press("w")
    ann.page.keyboard.press("w")
    ann.page.wait_for_selector("#end .disputed:not([hidden])")
    text = ann.page.inner_text("#end")
    assert text.index("First settle the disagreements") < text.index("counterground discover")
    links = ann.page.locator("#end .disputed a:visible").all_inner_texts()
    assert links == ["Settle 1 disagreement (review)", "Settle 1 disagreement (background)"]
    ann.page.get_by_role("link", name="(background)").click()
    ann.see()
    ann.page.keyboard.press("1")
    ann.page.wait_for_selector("#end:not([hidden])")
    ann.saved()
    assert pool.verdicts("background")["status"].to_list().count("adjudicated") == 1


def test_one_who_labels_alone_reaches_the_end(pool, serve, visit):
    ann = visit(serve(pool, "--second", "1").links["ann"])
    ann.see()
    for _ in range(7):
        ann.press("w")
    ann.page.keyboard.press("w")
    ann.page.wait_for_selector("#end .alone:not([hidden])")
    assert ann.page.locator("#end .remaining").is_hidden()
    assert "--task background --annotator NAME" in ann.page.inner_text("#end .another")
    ann.saved()
    ann.page.goto(ann.page.url.replace("label/background", "progress"))
    text = " ".join(ann.page.inner_text("section[aria-labelledby=background]").split())
    assert "8 of 8 photos are decided." in text
    assert "second annotator" not in text


def test_the_guide_shows_pictures_of_the_class(pool, serve, visit, tmp_path):
    for folder, names in (("flamingo", ("b.png", "a.png")), ("ice_bear", ("c.png",))):
        (pool.root / "guide" / folder).mkdir(parents=True)
        for number, name in enumerate(names):
            Image.new("RGB", (90 + number, 60), "pink").save(pool.root / "guide" / folder / name)
    (tmp_path / "secret.png").write_bytes((pool.root / "guide/flamingo/a.png").read_bytes())
    (pool.root / "guide" / "flamingo" / "link.png").symlink_to(tmp_path / "secret.png")
    ann = visit(serve(pool).links["ann"])
    ann.see()
    assert ann.page.inner_text("h1") == "flamingo"
    photo = ann.shown()
    pictures = ann.page.get_by_role("group", name="Pictures of the class").get_by_role("button")
    assert pictures.count() == 2
    pictures.first.click()
    assert ann.page.get_attribute("#view img", "alt") == "picture 1 of flamingo"
    ann.page.wait_for_function("document.querySelector('#view img').naturalWidth === 91")
    pictures.last.click()  # one at a time
    assert ann.page.locator(".compare[aria-pressed=true]").count() == 1
    ann.page.keyboard.press("w")  # the photo is decided on, not the picture
    ann.page.wait_for_selector(f"#view img:not([src='{photo}']):not([src^='/guide'])")
    assert ann.page.locator(".compare[aria-pressed=true]").count() == 0
    ann.saved()
    shown = pool.photos()["path"][int(re.search(r"\d+", photo)[0]) - 1]
    assert standing(pool) == [(shown, ["water"])]
    ann.page.goto(ann.page.url.replace("label/background", "labels"))
    assert ann.page.get_by_alt_text("Picture 2 of flamingo").is_visible()


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


def test_suggestions_are_marked_and_recorded(pool, serve, visit, tiny_clip):
    server = serve(pool, "--suggest", f"open_clip:{tiny_clip}")
    ann = visit(server.links["ann"])
    ann.see()
    guess = ann.page.get_attribute(".choice.guess", "data-label")
    assert "Suggestions bias annotators" in ann.page.inner_text(".panel")
    ann.press("w")
    ann.saved()
    shown = json.loads(pool.decisions()["suggestion"][0])
    assert shown == {"label": guess, "model": f"open_clip:{tiny_clip.name}"}


def test_a_suggestion_without_a_button_was_not_suggested(pool, serve, visit):
    ann = visit(serve(pool).links["ann"])

    def suggest(route):
        """As a model does after somebody has added a label."""
        answer = route.fetch()
        batch = answer.json()
        for photo, label in zip(batch["photos"], ("moss", "sand"), strict=False):
            photo["suggestion"] = {"model": "clip", "label": label}
        route.fulfill(response=answer, json=batch)

    ann.page.route("**/api/next", suggest)
    ann.page.reload()
    ann.see()
    ann.press("w")
    ann.press("w")
    ann.saved()
    shown = [text and json.loads(text)["label"] for text in pool.decisions()["suggestion"]]
    assert shown == [None, "sand"]


def test_labels_and_guidance_are_edited(pool, serve, visit):
    pool.decide(pool.photos()["path"][0], annotator="ann", task="background", labels=["water"])
    ann = visit(serve(pool).links["ann"])
    ann.page.goto(ann.page.url.replace("label/background", "labels"))
    water = ann.page.locator(".line", has=ann.page.locator("input[value=water]"))
    assert water.locator(".remove").is_disabled()
    assert water.locator(".name").get_attribute("readonly") is not None
    water.locator(".up").click()
    ann.page.get_by_role("button", name="Remove earth").click()
    ann.page.get_by_role("button", name="Add a label").click()
    ann.page.keyboard.type("moss")
    with ann.page.expect_navigation():
        ann.page.get_by_role("button", name="Save the labels").click()
    labels = pool.background_labels()
    assert labels[:3] == ["water", "ground", "sand"]
    assert labels[-1] == "moss"
    assert ann.page.locator(".line kbd").last.inner_text().lower() == "m"
    ann.page.locator("textarea").first.fill("Wet sand is water.")
    ann.page.get_by_role("button", name="Save", exact=True).click()
    ann.page.get_by_text("Saved.").wait_for()
    assert pool.setting("guidance") == {"flamingo": "Wet sand is water."}
    ann.page.goto(ann.page.url.replace("labels", "label/background"))
    ann.see()
    assert ann.page.inner_text("#guidance") == "Wet sand is water."
    ann.press("m")
    ann.saved()
    assert standing(pool)[-1][1] == ["moss"]


def test_what_is_typed_on_the_page_of_labels_is_not_lost(pool, serve, visit):
    ann = visit(serve(pool).links["ann"])
    ann.page.goto(ann.page.url.replace("label/background", "labels"))
    ann.page.get_by_role("button", name="Add a label").click()
    line = ann.page.locator(".line").last
    line.locator(".name").fill("dry  grass")
    line.locator(".meaning").fill("hay, straw")
    text, save = ann.page.locator("textarea").first, ann.page.locator("form.class button").first

    answered = []

    def hold(route):
        answered.append(route)

    ann.page.route("**/api/guidance", hold)
    text.fill("Wet sand")
    save.click()
    text.press_sequentially(" is water.")
    while not answered:
        ann.page.wait_for_timeout(20)
    answered[0].continue_()
    ann.page.get_by_text("Saved.").first.wait_for()
    assert text.input_value() == "Wet sand is water."
    assert save.is_visible()

    asked = []
    ann.page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    with ann.page.expect_navigation():
        ann.page.get_by_role("button", name="Save the labels").click()
    assert asked == ["beforeunload"]  # the rest of the text is not saved
    assert pool.background_labels()[-1] == "dry grass"
    assert ann.page.locator(".line .meaning").last.input_value() == "hay, straw"


def test_progress_and_agreement_tell_what_was_decided(pool, serve, visit):
    paths = pool.photos()["path"].to_list()
    for number, path in enumerate(paths[:6]):
        for name in ("ann", "ben"):
            label = "grass" if name == "ben" and number == 5 else ("water", "sand")[number % 2]
            pool.decide(path, annotator=name, task="background", labels=[label], seconds=2.0)
    ann = visit(serve(pool, "--second", "1").links["ann"])
    ann.page.goto(ann.page.url.replace("label/background", "progress"))
    text = ann.page.inner_text("main")
    assert "6 of 8 photos are decided" in text
    assert "1 disagreement" in text
    ann.page.goto(ann.page.url.replace("progress", "agreement"))
    text = " ".join(ann.page.inner_text("main").split())
    assert "6 photos were labelled by two or more of 2 annotators; 83.3 % of pairs agree." in text
    assert "Imported labels" not in text
    pool.decide(paths[0], annotator="imported", task="background", labels=["water"])
    ann.page.reload()
    assert "Imported labels count as an annotator's." in ann.page.inner_text("main")


def test_agreement_below_chance_has_a_minus_sign(pool, serve, visit):
    """Each chose the labels that the other did not."""
    paths = pool.photos()["path"].to_list()
    for number, path in enumerate(paths[:4]):
        pool.decide(path, annotator="ann", task="background", labels=[("water", "sand")[number % 2]])
        pool.decide(path, annotator="ben", task="background", labels=[("sand", "water")[number % 2]])
    ann = visit(serve(pool).links["ann"])
    ann.page.goto(ann.page.url.replace("label/background", "agreement"))
    text = " ".join(ann.page.inner_text("main").split())
    assert "4 photos were labelled by two or more of 2 annotators; 0.0 % of pairs agree." in text
    assert "Alpha is −0.75" in text
    assert "kappa −1.00." in text
    assert "-0" not in text
