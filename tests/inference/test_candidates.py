from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from evaluated import evaluated

from counterground.errors import CounterGroundError, UsageError
from counterground.inference import evaluate_models
from counterground.photos import LabelSpace, imagenet_names, read_benchmark
from counterground.predictions import candidate_labels, match_classes
from counterground.results import open_run
from counterground.settings import Settings


@pytest.fixture
def benchmark(photos):
    return read_benchmark(photos)


def test_confusable_keeps_the_20_closest_names_and_can_be_reused(benchmark, tiny_clip, tmp_path):
    model = f"open_clip:{tiny_clip}"
    run = evaluated(benchmark, model, tmp_path / "a", label_space="confusable", referee=model)
    space = LabelSpace.load(tmp_path / "a" / "label_space.json")
    assert space.candidates is not None
    assert {len(names) for names in space.candidates.values()} == {20}
    assert set(space.candidates) == set(benchmark.classes.imagenet)
    for row in run.predictions.iter_rows(named=True):
        index = benchmark.classes.imagenet[row["class_index"]]
        assert row["predicted_index"] in space.candidates[index]
        assert row["true_rank"] is None or 0 <= row["true_rank"] < 20
    assert run.info.candidates.fewest == 20
    assert run.info.candidates.chance == 0.05
    again = evaluated(benchmark, model, tmp_path / "b", label_space=str(tmp_path / "a" / "label_space.json"))
    assert again.predictions.equals(run.predictions)


def test_a_referee_with_new_weights_replaces_no_earlier_run(benchmark, tiny_clip, tmp_path):
    from random_clip import save_clip

    (tmp_path / "referee").mkdir()
    model, referee = f"open_clip:{tiny_clip}", save_clip(tmp_path / "referee", seed=1)
    asked = Settings(label_space="confusable", referee=f"open_clip:{referee}")
    first = evaluate_models(benchmark, [model], asked, tmp_path / "run")
    kept = evaluate_models(benchmark, [model], asked, tmp_path / "run")
    assert kept.predictions.equals(first.predictions)
    save_clip(referee, seed=2)
    with pytest.raises(CounterGroundError, match=r"other weights.* of the referee"):
        evaluate_models(benchmark, [model], asked, tmp_path / "run")
    assert open_run(tmp_path / "run").predictions.equals(first.predictions)
    replaced = evaluate_models(benchmark, [model], asked, tmp_path / "run", overwrite=True)
    assert replaced.info.candidates.version != first.info.candidates.version


@pytest.mark.parametrize("label_space", ["imagenet", "confusable"])
def test_a_saved_set_writes_classes_wider_than_imagenets_as_the_run_that_saved_it(
    label_space, benchmark, tiny_clip, tmp_path
):
    own = benchmark.classes
    members = tuple((index, index + 300) for index in own.imagenet)
    wide = replace(own, imagenet=(None,) * len(own), members=members)
    benchmark, model = replace(benchmark, classes=wide), f"open_clip:{tiny_clip}"
    referee = model if label_space == "confusable" else None
    run = evaluated(benchmark, model, tmp_path / "a", label_space=label_space, referee=referee)
    again = evaluated(benchmark, model, tmp_path / "b", label_space=str(tmp_path / "a" / "label_space.json"))
    assert again.predictions.equals(run.predictions)
    assert again.info.candidates.version == run.info.candidates.version


def test_the_20_are_those_with_the_highest_mean_similarity(benchmark, tiny_clip, tmp_path):
    import open_clip
    import torch
    from PIL import Image

    model = f"open_clip:{tiny_clip}"
    evaluated(benchmark, model, tmp_path / "a", label_space="confusable", referee=model)
    network, _, transform = open_clip.create_model_and_transforms(f"local-dir:{tiny_clip}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{tiny_clip}")
    network.eval()
    names = imagenet_names("openai")
    space = LabelSpace.load(tmp_path / "a" / "label_space.json")
    with torch.no_grad():
        texts = network.encode_text(tokenizer([f"A photo of {name}." for name in names]), normalize=True)
        for name, index in zip(benchmark.classes.names, benchmark.classes.imagenet, strict=True):
            paths = benchmark.photos.filter(benchmark.photos["class_name"] == name)["path"]
            batch = torch.stack([transform(Image.open(benchmark.photo_path(path))) for path in paths])
            mean = (network.encode_image(batch, normalize=True) @ texts.T).mean(0).numpy()
            kept = list(space.candidates[index])
            assert mean[kept].min() >= np.delete(mean, kept).max() - 1e-6


def test_a_true_class_outside_the_set_is_counted_as_wrong_with_a_warning(benchmark, tiny_clip, tmp_path):
    own = benchmark.classes
    crowd = (900, 901)
    space = dict.fromkeys(own.imagenet, crowd)
    saved = LabelSpace("confusable", imagenet_names("openai"), tuple(range(1000)), space)
    saved.save(tmp_path / "set.json")
    run = evaluated(
        benchmark, f"open_clip:{tiny_clip}", tmp_path / "run", label_space=str(tmp_path / "set.json")
    )
    assert len(run.predictions) == 48
    assert not run.predictions["correct"].any()
    assert run.predictions["true_rank"].null_count() == 48
    assert any("true class of 48 photos is not a candidate" in warning for warning in run.info.warnings)
    assert "guessing" not in str(run.info.model_warnings), "a guess would be wrong as well"


def test_a_set_without_candidates_for_a_class_is_refused_before_any_photo(
    benchmark, tiny_clip, tmp_path, cache
):
    own = benchmark.classes
    some = {own.imagenet[own.index_of("ice bear")]: tuple(range(900, 920))}
    LabelSpace("confusable", imagenet_names("openai"), tuple(range(1000)), some).save(tmp_path / "set.json")
    with pytest.raises(UsageError, match=r"set\.json.*'black swan', 'flamingo'.*--referee") as caught:
        evaluated(
            benchmark, f"open_clip:{tiny_clip}", tmp_path / "run", label_space=str(tmp_path / "set.json")
        )
    assert "\n" not in str(caught.value)
    assert "ice bear" not in str(caught.value)
    assert not list(cache.rglob("*"))


def test_a_set_needs_no_candidates_for_a_class_without_photos(benchmark, tiny_clip, tmp_path):
    own = benchmark.classes
    bears = replace(benchmark, photos=benchmark.photos.filter(benchmark.photos["class_name"] == "ice bear"))
    some = {own.imagenet[own.index_of("ice bear")]: tuple(range(290, 300))}
    LabelSpace("confusable", imagenet_names("openai"), tuple(range(1000)), some).save(tmp_path / "set.json")
    run = evaluated(bears, f"open_clip:{tiny_clip}", tmp_path / "run", label_space=str(tmp_path / "set.json"))
    assert run.predictions["predicted_index"].is_between(290, 299).all()


def test_a_list_of_names_may_have_another_order_and_more(benchmark, tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("zebra\nflamingo\nice bear\nblack swan\n")
    candidates = candidate_labels(benchmark, str(path), "openai")
    assert [candidates.space.names[candidates.true_index[i]] for i in range(3)] == list(
        benchmark.classes.names
    )


def test_one_name_of_two_imagenet_classes_is_two_classes(benchmark, tmp_path):
    name = benchmark.classes.names[0]
    space = replace(benchmark.classes, imagenet=(517, *benchmark.classes.imagenet[1:]))
    space.save(tmp_path / "space.json")
    index = benchmark.classes.imagenet[0]
    expected = f"'{name}' is class 517 of ImageNet, and in the benchmark class {index}: correct the index"
    with pytest.raises(UsageError, match=expected):
        candidate_labels(benchmark, str(tmp_path / "space.json"), "openai")
    assert match_classes(benchmark.classes, space) == {0: None, 1: 1, 2: 2}
    unknown = replace(space, imagenet=(None, *space.imagenet[1:]))
    assert match_classes(benchmark.classes, unknown) == {0: 0, 1: 1, 2: 2}


def test_a_list_of_imagenets_names_has_its_indices_and_keeps_its_words(benchmark, tmp_path):
    names = [name.split(",")[0] for name in imagenet_names("wordnet")]  # the usual short list
    path = tmp_path / "categories.txt"
    path.write_text("\n".join(names))
    labels = candidate_labels(benchmark, str(path), "openai")
    assert labels.space.imagenet == tuple(range(1000))
    assert labels.texts == tuple(names)
    assert labels.true_index == dict(enumerate(benchmark.classes.imagenet))
    labels.space.save(tmp_path / "label_space.json")
    again = candidate_labels(benchmark, str(tmp_path / "label_space.json"), "openai")
    assert (again.texts, again.version()) == (labels.texts, labels.version())
    path.write_text("\n".join(names[500:] + names[:500]))
    assert set(candidate_labels(benchmark, str(path), "openai").space.imagenet) == {None}


def test_names_that_mean_two_classes_are_no_other_order(benchmark, tmp_path):
    """Torchvision's list calls the corgi what OpenAI's calls the garment."""
    names = list(imagenet_names("openai"))
    names[264], names[639], names[517] = "Cardigan", "maillot", "crane"
    path = tmp_path / "names.txt"
    path.write_text("\n".join(names))
    assert list(candidate_labels(benchmark, "imagenet", str(path)).texts) == names


def test_runs_with_other_names_under_one_title_are_not_compared(benchmark, tiny_clip, tmp_path):
    from counterground import compare

    model = f"open_clip:{tiny_clip}"
    (tmp_path / "drawn.txt").write_text("a drawing of a {}, seen from far away\n")
    for name, prompts in (("a", "simple"), ("b", str(tmp_path / "drawn.txt"))):
        how = {"label_space": "confusable", "referee": model, "prompts": prompts}
        evaluated(benchmark, model, tmp_path / name, **how)
    apart = compare([tmp_path / "a", tmp_path / "b"])
    assert apart.tests.is_empty()
    assert any("confusable names" in each.subject for each in apart.findings)
    reused = Settings(label_space=str(tmp_path / "a" / "label_space.json"), names="wordnet")
    evaluate_models(benchmark, [model, "counterground:stamps-biased"], reused, tmp_path / "c")
    compared = compare([tmp_path / "a", tmp_path / "c"])
    assert set(compared.tests["names"]) == {"wordnet"}
