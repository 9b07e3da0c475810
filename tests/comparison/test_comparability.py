"""Each thing that makes a comparison unfair is told, and nothing is told of a fair one."""

from dataclasses import replace

import numpy as np
import pytest
from paper_sized import OPEN_CLIP_REFEREE, clip_record

from counterground.comparison import comparability_warnings
from counterground.photos import Discovered
from counterground.published import SETTINGS

SIZES = np.full((3, 2), 10)
CLIP = "open_clip:ViT-B-32/laion2b_s34b_b79k"


@pytest.fixture
def two(make_run):
    """Function: (**what differs in the second run) -> sentences about both."""

    def tell(**differing):
        same = {"sizes": SIZES, "name": "stamps"}
        first = make_run({CLIP: (0.8, 0.6)}, path="a", **same)
        second = make_run({CLIP: (0.8, 0.6)}, path="b", **{**same, **differing})
        return comparability_warnings({"a": first, "b": second})

    return tell


def test_equal_runs_are_fair(two):
    assert two() == []


@pytest.mark.parametrize(
    ("differing", "said"),
    [
        ({"name": "other"}, "different photos (a on stamps; b on other)"),
        ({"version": "9" * 64}, "different versions of one benchmark (a on stamps; b on stamps)"),
        ({"names": "openai"}, "Encoders write class names in different ways: wordnet in a; openai in b."),
        ({"prompts": "openai"}, "Encoders use different prompts: simple in a; openai in b."),
        (
            {"label_space": "benchmark"},
            "choose among different candidate names: imagenet in a; benchmark in b.",
        ),
        ({"precision": "fp16"}, "different precision: fp32 in a; fp16 in b"),
        ({"space_version": "2"}, "The imagenet names of a and b differ"),
        ({"unreadable": 3}, "differ in how many photos they could not read (a: 0, b: 3)"),
    ],
)
def test_each_difference_is_told_once(two, differing, said):
    sentences = two(**differing)
    assert len(sentences) == 1
    assert said in sentences[0]


def test_classifiers_read_no_names(make_run):
    runs = {
        name: make_run({"torchvision:a": (0.8, 0.6)}, sizes=SIZES, name="stamps", names=names)
        for name, names in (("a", "wordnet"), ("b", "openai"))
    }
    assert comparability_warnings(runs) == []


def test_names_that_compete_matter_for_classifiers_too(make_run):
    runs = {
        name: make_run({"torchvision:a": (0.8, 0.6)}, sizes=SIZES, name="stamps", label_space=space)
        for name, space in (("a", "imagenet"), ("b", "benchmark"))
    }
    assert comparability_warnings(runs) == [
        "Models choose among different candidate names: imagenet in a; benchmark in b."
    ]


def test_models_that_answer_in_words_are_asked_alike(make_run):
    record = clip_record("hf:llava").model_copy(update={"kind": "generative"})
    runs = {
        name: make_run({"hf:llava": (0.8, 0.6)}, sizes=SIZES, name="s", records=[record], protocol=protocol)
        for name, protocol in (("a", "answer-loss"), ("b", "yes-no"))
    }
    assert comparability_warnings(runs) == [
        "Generative models are evaluated with different protocols: answer-loss in a; yes-no in b."
    ]


def test_how_answers_are_scored_is_part_of_the_setting(make_run):
    record = clip_record("hf:llava").model_copy(update={"kind": "generative"})
    options = {"sizes": SIZES, "name": "s", "records": [record], "protocol": "answer-loss"}
    runs = {
        score: make_run({"hf:llava": (0.8, 0.6)}, answer_score=score, **options) for score in ("mean", "sum")
    }
    assert comparability_warnings(runs) == [
        "Generative models score answers in different ways: mean in mean; sum in sum."
    ]


def discovered(split, **more):
    return Discovered(CLIP, split, 5.0, "stamps@0123abcd", "stamps", **more)


@pytest.mark.parametrize(
    ("split", "said"), [("none", "selection inflates its drop"), ("half", "reflect its weaknesses")]
)
def test_the_referee_among_the_models_is_reported(make_run, split, said):
    run = make_run({CLIP: (0.8, 0.6)}, sizes=SIZES, name="stamps", discovery=discovered(split))
    (sentence,) = comparability_warnings({"mine": run})
    assert CLIP in sentence
    assert said in sentence
    other = make_run({"torchvision:a": (0.8, 0.6)}, sizes=SIZES, name="stamps", discovery=discovered(split))
    assert comparability_warnings({"mine": other}) == []


def test_an_earlier_referee_is_reported_too(make_run):
    found = Discovered("torchvision:b", "none", 5.0, "mine@0", "stamps", earlier_referees=(CLIP,))
    run = make_run({CLIP: (0.8, 0.6)}, sizes=SIZES, name="stamps", discovery=found)
    (sentence,) = comparability_warnings({"mine": run})
    assert f"those where {CLIP} itself does best" in sentence


def test_the_papers_referee_chose_pairs_that_are_chosen_among_its_own_again(make_run):
    found = Discovered("torchvision:b", "half", 5.0, "counteranimal@0", "counteranimal")
    run = make_run({OPEN_CLIP_REFEREE: (0.8, 0.6)}, sizes=SIZES, name="pairs of b", discovery=found)
    (sentence,) = comparability_warnings({"mine": run})
    assert "is the model that chose CounterAnimal's backgrounds, on these same photos" in sentence


@pytest.mark.parametrize("discovery", [None, discovered("none"), discovered("half")])
def test_neither_the_name_nor_the_notes_of_a_benchmark_decide(make_run, discovery):
    note = f"The pairs were chosen by {CLIP} on these same photos, where it drops 20.0 points: ..."
    told = []
    for name, notes in (("stamps", []), (f"stamps, pairs of {CLIP}", [note]), ("a, b@c", [f"{CLIP}@{CLIP}"])):
        run = make_run(
            {CLIP: (0.8, 0.6)}, sizes=SIZES, name=name, notes=notes, version="9" * 64, discovery=discovery
        )
        told.append(comparability_warnings({"mine": run}))
    assert told[0] == told[1] == told[2]
    assert len(told[0]) == (discovery is not None)


def test_the_papers_referee_and_names_are_told(referee_run, make_run):
    sentences = " ".join(comparability_warnings({"mine": referee_run}, SETTINGS["one-prompt"]))
    assert f"{OPEN_CLIP_REFEREE} is the model that chose CounterAnimal's backgrounds" in sentences
    assert "writes names" not in sentences
    openai = make_run({CLIP: (0.8, 0.6)}, names="openai", prompts="openai")
    said = " ".join(comparability_warnings({"mine": openai}, SETTINGS["one-prompt"]))
    assert "mine writes names as openai" in said
    assert "uses 80 prompts" in said
    assert "chose CounterAnimal's backgrounds, on these" not in said
    later = make_run({"open_clip:ViT-B-32/laion400m_e32": (0.67, 0.37)})  # Table 9; the referee is E31
    said = " ".join(comparability_warnings({"mine": later}, SETTINGS["one-prompt"]))
    assert "chose CounterAnimal's backgrounds, on these" not in said


def test_runs_elsewhere_have_no_place_among_the_papers_models(small_run):
    said = " ".join(comparability_warnings({"small": small_run}, SETTINGS["one-prompt"]))
    assert "small: Measured on stamps" in said
    assert "not listed among the paper's models" in said


def test_heads_that_were_fitted_on_other_photos_are_told(make_run):
    def fitted(path, train):
        record = clip_record(CLIP)
        record = record.model_copy(update={"description": record.description | {"head": {"penalty": 1.0}}})
        run = make_run({CLIP: (0.8, 0.6)}, path=path, sizes=SIZES, name="stamps", records=[record])
        benchmark = run.info.benchmark.model_copy(update={"name": train, "version": "7" * 64})
        return replace(run, info=run.info.model_copy(update={"train": benchmark if train else None}))

    runs = {"a": fitted("a", "drawings"), "b": fitted("b", None), "c": fitted("c", "drawings")}
    assert comparability_warnings(runs) == [
        "Heads are fitted on different photos: drawings@77777777 in a, c; parts of the benchmark itself in b."
    ]
    plain = make_run({CLIP: (0.8, 0.6)}, path="d", sizes=SIZES, name="stamps")
    assert comparability_warnings({"a": runs["a"], "c": runs["c"], "d": plain}) == []


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
    (sentence,) = comparability_warnings({"a": fitted("a", size - 6), "c": plain})
    assert sentence.startswith("Heads answer only names that have training photos: head a chose among ")
    assert sentence.endswith(f"among {size - 6} names, others among {size:,}.")
    assert comparability_warnings({"a": fitted("a", size), "c": plain}) == []
    assert comparability_warnings({"a": fitted("a", size - 6), "b": fitted("b", size - 6)}) == []
