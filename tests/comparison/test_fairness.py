"""Each thing that makes a comparison unfair is told, and nothing is told of a fair one."""

import numpy as np
import pytest
from paper_sized import OPEN_CLIP_REFEREE, clip_record

from counterground.comparison import unfairness

SIZES = np.full((3, 2), 10)
CLIP = "open_clip:ViT-B-32/laion2b_s34b_b79k"


@pytest.fixture
def two(make_run):
    """Function: (**what differs in the second run) -> sentences about both."""

    def tell(**differing):
        same = {"sizes": SIZES, "name": "stamps"}
        first = make_run({CLIP: (0.8, 0.6)}, path="a", **same)
        second = make_run({CLIP: (0.8, 0.6)}, path="b", **{**same, **differing})
        return unfairness({"a": first, "b": second}, published=False)

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
        ({"label_space": "benchmark"}, "let different names compete: imagenet in a; benchmark in b."),
        (
            {"protocol": "classification, as published", "as_published": True},
            "as trained in a; as published in b",
        ),
        ({"precision": "fp16"}, "different precision: fp32 in a; fp16 in b"),
        ({"space_version": "2"}, "The imagenet names of a and b differ"),
        ({"unreadable": 3}, "could not read the same photos (unread a: 0, b: 3)"),
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
    assert unfairness(runs, published=False) == []


def test_names_that_compete_matter_for_classifiers_too(make_run):
    runs = {
        name: make_run({"torchvision:a": (0.8, 0.6)}, sizes=SIZES, name="stamps", label_space=space)
        for name, space in (("a", "imagenet"), ("b", "benchmark"))
    }
    assert unfairness(runs, published=False) == [
        "Models let different names compete: imagenet in a; benchmark in b."
    ]


def test_models_that_answer_in_words_are_asked_alike(make_run):
    record = clip_record("hf:llava").model_copy(update={"kind": "generative"})
    runs = {
        name: make_run({"hf:llava": (0.8, 0.6)}, sizes=SIZES, name="s", records=[record], protocol=protocol)
        for name, protocol in (("a", "answer-loss"), ("b", "yes-no"))
    }
    assert unfairness(runs, published=False) == [
        "Models that answer in words are asked in different ways: answer-loss in a; yes-no in b."
    ]


def test_the_referee_among_the_models_is_told(make_run):
    same = f"The pairs were chosen by {CLIP} on these very photos, where it drops 20.0 points: ..."
    for notes, said in (([same], "what chance made large"), ([], "made for its habits")):
        run = make_run({CLIP: (0.8, 0.6)}, sizes=SIZES, name=f"stamps, pairs of {CLIP}", notes=notes)
        (sentence,) = unfairness({"mine": run}, published=False)
        assert CLIP in sentence
        assert said in sentence
    other = make_run(
        {"torchvision:a": (0.8, 0.6)}, sizes=SIZES, name=f"stamps, pairs of {CLIP}", notes=[same]
    )
    assert unfairness({"mine": other}, published=False) == []


def test_the_papers_referee_names_and_loading_are_told(referee_run, make_run):
    sentences = " ".join(unfairness({"mine": referee_run}, published=True))
    assert f"{OPEN_CLIP_REFEREE} is the model that chose CounterAnimal's backgrounds" in sentences
    assert "--as-published does the same" in sentences
    assert "writes names" not in sentences
    openai = make_run({CLIP: (0.8, 0.6)}, names="openai", prompts="openai")
    said = " ".join(unfairness({"mine": openai}, published=True))
    assert "mine writes names as openai" in said
    assert "uses 80 prompts" in said
    assert "chose CounterAnimal's backgrounds, on these" not in said


def test_runs_elsewhere_have_no_place_among_the_papers_models(small_run):
    said = " ".join(unfairness({"small": small_run}, published=True))
    assert "small: Measured on stamps" in said
    assert "no place among the paper's models" in said
