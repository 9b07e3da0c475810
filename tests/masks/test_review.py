"""What people decide about masks: counted once, taken back, never changed, and what becomes of the masks."""

import threading
import uuid

import pytest
from drawn_masks import SIZE, disc, inside, png, save_masks
from PIL import Image

from counterground.errors import CounterGroundError, UsageError
from counterground.masks import MaskDecisions, make_masks, mask_id, read_masks, standing
from counterground.photos import photo_id, read_benchmark
from counterground.settings import MaskSettings

A, B, C, D, E = (f"ox/grass/{name}.png" for name in "abcde")

AGAIN = MaskSettings(overwrite=True)


@pytest.fixture
def folder(tmp_path):
    return save_masks(tmp_path).folder


@pytest.fixture
def decisions(folder):
    return MaskDecisions(folder)


def token():
    return str(uuid.uuid4())


def test_the_last_decision_stands_and_one_sent_twice_counts_once(folder, decisions):
    assert standing(folder) == {}
    first = token()
    assert decisions.decide(A, "accepted", annotator="ann", token=first) == 1
    assert decisions.decide(A, "accepted", annotator="ann", token=first) == 1
    decisions.decide(A, "rejected", annotator="ben", token=token())
    assert decisions.made_since(0) == {"ann": 1, "ben": 1}
    assert [(one.verdict, one.annotator) for one in standing(folder).values()] == [("rejected", "ben")]
    with pytest.raises(UsageError, match="belongs to another decision"):
        decisions.decide(B, "accepted", annotator="ann", token=first)


def test_undo_brings_back_what_stood_before(folder, decisions):
    decisions.decide(A, "accepted", annotator="ann", token=token())
    second = token()
    decisions.decide(A, "rejected", annotator="ben", token=second)
    with pytest.raises(UsageError, match="of ann stands"):
        decisions.undo("ann", of=second, token=token())
    once = token()
    assert decisions.undo("ben", token=once).verdict == "rejected"
    assert decisions.undo("ben", token=once).verdict == "rejected"  # sent twice
    assert standing(folder)[A].verdict == "accepted"
    assert decisions.undo("ben", token=token()) is None
    with pytest.raises(UsageError, match="of ben stands"):
        decisions.undo("ben", of=second, token=token())
    with pytest.raises(UsageError, match="of ben stands"):
        decisions.undo("ben", of=token(), token=token())


def test_many_at_once_are_all_recorded(folder, decisions):
    def work(name):
        for _ in range(10):
            MaskDecisions(folder).decide(A, "accepted", annotator=name, token=token())

    threads = [threading.Thread(target=work, args=[name]) for name in ("ann", "ben", "cyd")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert decisions.made_since(0) == {"ann": 10, "ben": 10, "cyd": 10}


def test_masks_stand_as_they_were_reviewed(folder, decisions):
    before = read_masks(folder)
    assert before.usable == 3
    judged = {path: mask_id(folder, f"files/{path}.png") for path in (A, B, C, D)}
    decisions.decide(A, "accepted", annotator="ann", token=token(), judged=judged[A])
    decisions.decide(B, "rejected", annotator="ann", token=token(), judged=judged[B])
    decisions.decide(C, "accepted", annotator="ann", token=token(), judged=judged[C])
    drawn = disc((10, 10, 40, 40))
    decisions.decide(E, "redrawn", drawn=(png(drawn), SIZE), annotator="ann", token=token())
    after = read_masks(folder)
    rows = {row["path"]: row for row in after.table.to_dicts()}
    assert {path: rows[path]["reason"] for path in rows} == {
        A: None,
        B: "rejected",
        C: None,
        D: None,
        E: None,
    }
    assert rows[E]["origin"] == "redrawn"
    assert rows[E]["area"] == pytest.approx(inside(folder / rows[E]["mask"]).mean())
    assert (inside(folder / rows[E]["mask"]) == (disc((10, 10, 40, 40)).point(lambda v: v > 127))).all()
    assert "Review: 2 accepted, 1 rejected, 1 redrawn." in after.notes
    assert read_masks(folder, reviewed=False).table.equals(before.table)
    benchmark = after.apply(read_benchmark(folder.parent / "photos"))
    assert benchmark.photos["mask"].null_count() == 1
    assert benchmark.mask_path(rows[E]["mask"]).is_file()


def test_a_verdict_is_about_one_mask_and_not_about_another_in_its_place(folder, decisions, tmp_path):
    for path, verdict in ((A, "accepted"), (B, "rejected"), (D, "rejected")):
        judged = mask_id(folder, f"files/{path}.png")
        decisions.decide(path, verdict, annotator="ann", token=token(), judged=judged)
    for name in "ab":
        disc((5, 5, 60, 60)).save(tmp_path / "drawn" / "ox" / "grass" / f"{name}.png")
    make_masks(read_benchmark(tmp_path / "photos"), str(tmp_path / "drawn"), folder)
    after = read_masks(folder)
    assert after.reasons() == {"missing": 1, "rejected": 1, "too large": 1}
    assert any("2 decisions of the review left out" in note for note in after.notes)


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"", "not a PNG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a PNG"),
        (png(disc())[:60], "damaged"),
        (png(disc(size=(121, 90))), "121 x 90 pixels, and the photo 120 x 90"),
        (png(Image.new("L", (3000, 3000))), "3000 x 3000 pixels"),
        (png(Image.new("L", SIZE)), "empty"),
        (png(Image.new("L", SIZE, 120)), "empty"),
        (png(Image.new("L", SIZE, 255)), "whole photo"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_mask_of_the_photo_is_refused(folder, decisions, sent, reason):
    with pytest.raises(UsageError, match=reason):
        decisions.decide(A, "redrawn", drawn=(sent, SIZE), annotator="ann", token=token())
    assert standing(folder) == {}
    assert not list(folder.glob("redrawn/*"))


def test_a_drawn_mask_is_written_anew(folder, decisions):
    sent = disc().convert("RGBA")
    sent.info["comment"] = "from somewhere"
    decisions.decide(A, "redrawn", drawn=(png(sent), SIZE), annotator="ann", token=token())
    file = folder / standing(folder)[A].mask
    written = Image.open(file)
    assert (written.mode, written.size, written.info) == ("L", SIZE, {})


def test_a_drawing_does_not_pass_to_another_photo_of_the_same_path(folder, decisions, tmp_path):
    photos = tmp_path / "photos"
    first = photo_id(photos / A)
    decisions.decide(
        A,
        "redrawn",
        drawn=(png(disc((10, 10, 40, 40))), SIZE),
        annotator="ann",
        token=token(),
        photo=first,
    )
    before = (photos / A).read_bytes()
    Image.new("RGB", SIZE, (9, 9, 200)).save(photos / A)
    disc((60, 50, 90, 80)).save(tmp_path / "drawn" / A)
    origins = []
    for content in ((photos / A).read_bytes(), before):  # another photo, and the first one again
        (photos / A).write_bytes(content)
        made = make_masks(read_benchmark(photos), str(tmp_path / "drawn"), folder, settings=AGAIN)
        origins.append(made.table["origin"][0])
    assert origins == ["folder", "redrawn"]


def test_a_mask_without_object_is_none_whoever_accepted_it(tmp_path):
    save_masks(tmp_path)
    for name, value in (("a", 0), ("b", 255), ("d", 100)):
        Image.new("L", SIZE, value).save(tmp_path / "drawn" / "ox" / "grass" / f"{name}.png")
    made = make_masks(read_benchmark(tmp_path / "photos"), str(tmp_path / "drawn"), tmp_path / "odd")
    log = MaskDecisions(made.folder)
    for path in (A, B, C, D):
        judged = mask_id(made.folder, f"files/{path}.png")
        log.decide(path, "accepted", annotator="ann", token=token(), judged=judged)
    after = read_masks(made.folder)
    assert (after.usable, after.reasons()) == (1, {"empty": 2, "full": 1, "missing": 1})


def test_a_damaged_log_is_one_line(folder, decisions):
    decisions.decide(A, "accepted", annotator="ann", token=token(), photo="0" * 64)
    (folder / "decisions.jsonl").write_bytes(b"no log at all")
    with pytest.raises(CounterGroundError, match=r"decisions\.jsonl is damaged") as refused:
        standing(folder)
    assert "\n" not in str(refused.value)
