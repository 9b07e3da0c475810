"""Each thing that makes a comparison unfair is found, and nothing is found in a fair one."""

from dataclasses import replace

import numpy as np
import pytest
from paper_sized import OPEN_CLIP_REFEREE, clip_record

from counterground.comparison import REFEREE, comparability
from counterground.photos import Discovered
from counterground.published import SETTINGS

SIZES = np.full((3, 2), 10)
CLIP = "open_clip:ViT-B-32/laion2b_s34b_b79k"


def found(runs, paper=None):
    return [(each.code, each.subject, each.numbers.get("values")) for each in comparability(runs, paper)]


def codes(*args):
    return {(code, subject) for code, subject, _ in found(*args)}


@pytest.mark.parametrize(
    ("differing", "expected"),
    [
        ({}, []),
        ({"name": "other"}, [("other_photos", "", ("a on stamps", "b on other"))]),
        ({"version": "9" * 64}, [("other_photos", "", ("a on stamps", "b on stamps"))]),
        ({"names": "openai"}, [("In encoders, ways of writing class names", "wordnet in a", "openai in b")]),
        ({"prompts": "openai"}, [("In encoders, prompts", "simple in a", "openai in b")]),
        ({"label_space": "benchmark"}, [("Candidate names", "imagenet in a", "benchmark in b")]),
        ({"precision": "fp16"}, [("Precisions", "fp32 in a", "fp16 in b")]),
        ({"space_version": "2"}, [("The imagenet names as wordnet", "version 1 in a", "version 2 in b")]),
        ({"unreadable": 3}, [("Numbers of unreadable photos", "0 in a", "3 in b")]),
    ],
)
def test_each_difference_is_told_once(make_run, differing, expected):
    same = {"sizes": SIZES, "name": "stamps"}
    first = make_run({CLIP: (0.8, 0.6)}, path="a", **same)
    second = make_run({CLIP: (0.8, 0.6)}, path="b", **{**same, **differing})
    told = [each for each in found({"a": first, "b": second}) if each[0] != "selection_unknown"]
    if expected and len(expected[0]) == 3 and expected[0][0] != "other_photos":
        what, *values = expected[0]
        expected = [("settings_differ", what, tuple(values))]
    assert told == expected


def test_classifiers_read_no_names_but_all_models_choose_among_them(make_run):
    for what, (one, other), expected in (
        ("names", ("wordnet", "openai"), set()),
        ("label_space", ("imagenet", "benchmark"), {("settings_differ", "Candidate names")}),
    ):
        runs = {
            name: make_run({"torchvision:a": (0.8, 0.6)}, sizes=SIZES, name="stamps", **{what: value})
            for name, value in (("a", one), ("b", other))
        }
        assert codes(runs) == expected


@pytest.mark.parametrize(
    ("what", "values", "subject"),
    [
        ("protocol", ("answer-loss", "yes-no"), "In generative models, protocols"),
        ("answer_score", ("mean", "sum"), "In generative models, scores of answers"),
    ],
)
def test_models_that_answer_in_words_are_asked_alike(make_run, what, values, subject):
    record = clip_record("hf:llava").model_copy(update={"kind": "generative"})
    options = {"sizes": SIZES, "name": "stamps", "records": [record], "protocol": "answer-loss"}
    runs = {value: make_run({"hf:llava": (0.8, 0.6)}, **(options | {what: value})) for value in values}
    assert codes(runs) == {("settings_differ", subject)}


def discovered(split, **more):
    return Discovered(CLIP, split, 5.0, "stamps@0123abcd", "stamps", **more)


@pytest.mark.parametrize(
    ("split", "code"), [("none", "chose_here"), ("half", "chose_pairs"), ("cross", "chose_other_half")]
)
def test_the_referee_among_the_models_is_reported(make_run, split, code):
    run = make_run({CLIP: (0.8, 0.6)}, sizes=SIZES, name="stamps", discovery=discovered(split))
    assert (code, CLIP) in codes({"mine": run})
    other = make_run({"torchvision:a": (0.8, 0.6)}, sizes=SIZES, name="stamps", discovery=discovered(split))
    assert codes({"mine": other}) == ({("chosen_here", "")} if split == "none" else set())


def test_the_papers_referee_chose_pairs_that_are_chosen_among_its_own_again(make_run):
    again = Discovered("torchvision:b", "half", 5.0, "counteranimal@0", "counteranimal")
    run = make_run({OPEN_CLIP_REFEREE: (0.8, 0.6)}, sizes=SIZES, name="pairs of b", discovery=again)
    assert codes({"mine": run}) == {("chose_here", OPEN_CLIP_REFEREE), ("chosen_here", "")}


def test_who_chose_the_groups_is_asked_only_where_nothing_declares_it(make_run):
    run = make_run({CLIP: (0.8, 0.6)}, sizes=SIZES, name="stamps")
    assert codes({"mine": run}) == set()
    table = replace(run, info=run.info.model_copy(update={"recorded": False}))
    assert codes({"mine": table}) == {("selection_unknown", "")}
    assert codes({"mine": make_run({CLIP: (0.8, 0.6)}, sizes=SIZES, name="mine")}) == {
        ("selection_unknown", "")
    }


def test_the_papers_referee_and_settings_are_told(referee_run, make_run):
    paper = SETTINGS["one-prompt"]
    own = codes({"mine": referee_run}, paper)
    assert own == {("chose_here", OPEN_CLIP_REFEREE), ("chosen_here", ""), ("chose_here", REFEREE)}
    openai = make_run({CLIP: (0.8, 0.6)}, names="openai", prompts="openai")
    told = [each for each in comparability({"mine": openai}, paper) if each.code == "unlike_paper"]
    assert [each.numbers["what"] for each in told] == ["names (openai)", "prompts (openai)"]
    assert told[1].numbers["remedy"] == "add --setting openai-prompts"
    later = make_run({"open_clip:ViT-B-32/laion400m_e32": (0.67, 0.37)})  # Table 9; the referee is E31
    chose = {subject for code, subject in codes({"mine": later}, paper) if code == "chose_here"}
    assert chose == {REFEREE}


def test_runs_elsewhere_have_no_place_among_the_papers_models(small_run):
    assert ("left_out", "small") in codes({"small": small_run}, SETTINGS["one-prompt"])


def test_heads_that_were_fitted_on_other_photos_are_told(make_run):
    def fitted(path, train):
        record = clip_record(CLIP)
        record = record.model_copy(update={"description": record.description | {"head": {"penalty": 1.0}}})
        run = make_run({CLIP: (0.8, 0.6)}, path=path, sizes=SIZES, name="stamps", records=[record])
        benchmark = run.info.benchmark.model_copy(update={"name": train, "version": "7" * 64})
        return replace(run, info=run.info.model_copy(update={"train": benchmark if train else None}))

    runs = {"a": fitted("a", "drawings"), "b": fitted("b", None), "c": fitted("c", "drawings")}
    values = ("drawings@77777777 in a, c", "parts of the benchmark itself in b")
    assert found(runs) == [("settings_differ", "Photos that heads are fitted on", values)]
    plain = make_run({CLIP: (0.8, 0.6)}, path="d", sizes=SIZES, name="stamps")
    assert found({"a": runs["a"], "c": runs["c"], "d": plain}) == []


def test_a_head_that_never_answers_some_of_the_names_is_told(make_run):
    def fitted(path, classes):
        record = clip_record(CLIP)
        head = {"kind": "prototypes", "classes": classes}
        record = record.model_copy(
            update={"name": f"head {path}", "description": record.description | {"head": head}}
        )
        return make_run({f"head {path}": (0.8, 0.6)}, path=path, sizes=SIZES, name="stamps", records=[record])

    plain = make_run({CLIP: (0.8, 0.6)}, path="c", sizes=SIZES, name="stamps")
    size = plain.info.candidates.size
    ((code, _, values),) = found({"a": fitted("a", size - 6), "c": plain})
    assert (code, values) == ("settings_differ", (f"{size - 6} in head a", f"{size} in {CLIP}"))
    assert found({"a": fitted("a", size), "c": plain}) == []
    assert found({"a": fitted("a", size - 6), "b": fitted("b", size - 6)}) == []
