"""Heads fitted on features: equal to scikit-learn, without a leak, and in one report with other models."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import sklearn
import timm
import torch
from noise_photos import save_animals, save_noise
from PIL import Image
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

import counterground as cg
from counterground.cli import main
from counterground.errors import UsageError
from counterground.inference import encode_photos, evaluate_models
from counterground.inference._fitting import fit_head
from counterground.metrics import Design
from counterground.models import HeadSpec, load_model
from counterground.photos import read_benchmark
from counterground.settings import EvaluateSettings, Settings

HEADS = {
    "knn&k=3": KNeighborsClassifier(3, metric="cosine", weights=lambda d: np.exp((1 - d) / 0.07)),
    "logistic&C=0.5": make_pipeline(StandardScaler(), LogisticRegression(C=0.5, max_iter=1000)),
    "linear&alpha=2": make_pipeline(StandardScaler(), RidgeClassifier(alpha=2)),
    "prototypes": make_pipeline(Normalizer(), NearestCentroid()),
}
KNN = ("n_neighbors", (1, 5, 10, 20, 50, 100, 200))
CHOSEN = {
    "knn": (HEADS["knn&k=3"], KNN),
    "logistic": (HEADS["logistic&C=0.5"], ("logisticregression__C", (1e-4, 1e-3, 0.01, 0.1, 1, 10))),
    "linear": (HEADS["linear&alpha=2"], ("ridgeclassifier__alpha", (1e4, 1e3, 1e2, 10, 1, 0.1))),
}
SETTINGS = Settings(batch_size=8, label_space="benchmark", runtime="eager", device="cpu")


@pytest.fixture(autouse=True)
def _one_thread(one_thread):
    pass


def clustered(photos, size=3):
    """Three photos of a class and group in each cluster, which spans all classes of a group."""
    benchmark = read_benchmark(photos)
    number = pl.col("path").str.extract(r"(\d+)\.jpg").cast(pl.Int32) // size
    clusters = pl.format("{} {}", "group", number)
    return replace(benchmark, photos=benchmark.photos.with_columns(cluster=clusters))


def features_of(spec, benchmark, tmp_path):
    return encode_photos(
        load_model(spec), benchmark, tmp_path / "features", batch_size=8, show_progress=False
    ).matrix


def groups_of(benchmark):
    return benchmark.photos["cluster"].rank("dense").to_numpy()


@pytest.mark.parametrize("head", HEADS)
def test_cross_fitted_predictions_are_those_of_scikit_learn(head, photos, tiny_clip, tmp_path):
    benchmark, clip = clustered(photos), f"open_clip:{tiny_clip}"
    run = evaluate_models(benchmark, f"{clip}?head={head}", SETTINGS, tmp_path / "run")
    matrix, labels = features_of(clip, benchmark, tmp_path), benchmark.photos["class_index"].to_numpy()
    expected = np.zeros(len(labels), dtype=int)
    confidence = np.full(len(labels), np.nan)
    for training, own in StratifiedGroupKFold(5).split(matrix, labels, groups_of(benchmark)):
        fitted = HEADS[head].fit(matrix[training], labels[training])
        expected[own] = fitted.predict(matrix[own])
        if head.startswith(("knn", "logistic")):
            confidence[own] = fitted.predict_proba(matrix[own]).max(axis=1)
    assert run.predictions["path"].to_list() == benchmark.photos["path"].to_list()
    assert run.predictions["predicted_index"].to_list() == expected.tolist()
    assert run.predictions["correct"].to_list() == (expected == labels).tolist()
    if head.startswith(("knn", "logistic")):
        assert np.allclose(run.predictions["confidence"], confidence, atol=1e-5)


@pytest.mark.parametrize("kind", ["logistic", "linear"])
def test_frames_that_a_program_asks_scikit_learn_for_change_no_digit(kind):
    labels = np.repeat([0, 1, 2], 20)
    features = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    features[np.arange(60), labels] += 1

    def scores():
        return fit_head(HeadSpec(kind, 1.0), features, labels, 3, []).scores(features)

    before = scores()
    with sklearn.config_context(transform_output="polars"):
        assert np.array_equal(scores(), before)


@pytest.mark.parametrize("head", CHOSEN)
def test_numbers_are_chosen_by_clusters_within_the_training_photos(head, photos, tiny_clip, tmp_path):
    benchmark, clip = clustered(photos, size=1), f"open_clip:{tiny_clip}"
    run = evaluate_models(benchmark, f"{clip}?head={head}", SETTINGS, tmp_path / "run")
    matrix, labels = features_of(clip, benchmark, tmp_path), benchmark.photos["class_index"].to_numpy()
    groups, (estimator, (parameter, choices)) = groups_of(benchmark), CHOSEN[head]
    expected, numbers = np.zeros(len(labels), dtype=int), []
    for training, own in StratifiedGroupKFold(5).split(matrix, labels, groups):
        inner = list(StratifiedGroupKFold(3).split(matrix[training], labels[training], groups[training]))
        few = [each for each in choices if head != "knn" or each <= min(len(fit) for fit, _ in inner)]
        search = GridSearchCV(estimator, {parameter: few}, cv=inner).fit(matrix[training], labels[training])
        expected[own] = search.predict(matrix[own])
        numbers.append(search.best_params_[parameter])
    assert run.predictions["predicted_index"].to_list() == expected.tolist()
    fitted = run.info.models[0].description["head"]
    assert fitted[HeadSpec(head).parameter] == numbers
    assert len(set(numbers)) > 1, "parts that all choose the same would not show who chose"


@pytest.mark.parametrize("head", HEADS)
def test_predictions_after_training_on_other_photos_are_those_of_scikit_learn(
    head, photos, tiny_clip, tmp_path
):
    evaluated, clip = read_benchmark(photos), f"open_clip:{tiny_clip}"
    others = tmp_path / "others"
    for place, name in enumerate(
        ["flamingo", "zebra", "ice bear", "black swan"]
    ):  # another order, and one more
        for number in range(5):
            save_noise(others / name / f"{number}.jpg", 1000 + 10 * place + number)
    train = read_benchmark(others)
    run = evaluate_models(evaluated, f"{clip}?head={head}", SETTINGS, tmp_path / "run", train=train)
    known = {name: index for index, name in enumerate(evaluated.classes.names)}
    rows = train.photos.with_row_index("row").filter(pl.col("class_name") != "zebra")
    labels = [known[name] for name in rows["class_name"]]
    fitted = HEADS[head].fit(features_of(clip, train, tmp_path)[rows["row"].to_list()], labels)
    expected = fitted.predict(features_of(clip, evaluated, tmp_path))
    assert run.predictions["predicted_index"].to_list() == expected.tolist()
    assert run.info.train.version == train.version
    account = run.info.models[0].description["head"]
    assert (account["photos"], account["classes"], account["cross_fitted_parts"]) == (15, 3, None)
    assert set(run.predictions["prompts"]) == {
        f"{HeadSpec(*_parsed(head))}, fitted on others@{train.version[:8]}"
    }
    assert set(run.predictions["protocol"]) == {"fitted-head"}


def _parsed(head):
    kind, _, number = head.partition("&")
    return kind, float(number.partition("=")[2]) if number else None


def bursts(root, copies=False):
    """Eight bursts of each class: four shots of the same noise, which say nothing of the class."""
    rows = []
    for burst in range(24):
        name = ("ice bear", "black swan", "flamingo")[burst % 3]
        first = save_noise(root / f"{burst}-0.png", burst)
        for shot in range(4):
            path = root / f"{burst}-{shot}.png"
            pixels = np.array(Image.open(first))
            pixels[0, 0] = 0 if copies else shot
            Image.fromarray(pixels).save(path)
            rows.append({"path": path.name, "class_name": name, "cluster": f"burst {burst}"})
    return pl.DataFrame(rows)


def neighbours_right(frame, root, clip, out, cluster="cluster"):
    """The share of photos whose nearest neighbour among the training photos is of their class."""
    benchmark = cg.Benchmark.from_frame(frame, root=root, attributes=sorted({cluster} - {"cluster"}))
    benchmark = benchmark.described(design=Design(clusters=(cluster,)))
    run = evaluate_models(benchmark, f"{clip}?head=knn&k=1", SETTINGS, out)
    return run.predictions["correct"].mean()


def test_no_photo_is_predicted_by_a_head_that_saw_its_cluster(tiny_clip, tmp_path):
    frame, clip = bursts(tmp_path / "bursts"), f"open_clip:{tiny_clip}"
    root = tmp_path / "bursts"
    assert neighbours_right(frame, root, clip, tmp_path / "apart") < 0.7
    unaware = frame.with_columns(cluster=pl.lit(None, pl.String))
    assert neighbours_right(unaware, root, clip, tmp_path / "leaking") > 0.95, "what a leak would look like"
    named = unaware.with_columns(burst=frame["cluster"])
    assert neighbours_right(named, root, clip, tmp_path / "named", "burst") < 0.7


def test_copies_of_a_photo_are_never_on_both_sides(tiny_clip, tmp_path):
    root = tmp_path / "bursts"
    frame = bursts(root, copies=True).with_columns(cluster=pl.col("path"))  # each copy a cluster of its own
    assert neighbours_right(frame, root, f"open_clip:{tiny_clip}", tmp_path / "run") < 0.7


def test_a_photo_that_is_evaluated_trains_no_head_and_is_counted(photos, tiny_clip, tmp_path):
    """Copies of all photos, under wrong names: a head that was fitted on them would be wrong everywhere."""
    wrong = tmp_path / "wrong"
    names = {"ice bear": "black swan", "black swan": "flamingo", "flamingo": "ice bear"}
    for path in sorted(photos.rglob("*.jpg")):
        target = wrong / names[path.parts[-3]] / f"{path.parts[-2]}-{path.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    model = f"open_clip:{tiny_clip}?head=knn&k=1"
    evaluated = read_benchmark(photos)
    with pytest.raises(UsageError, match="All photos of -X train=wrong are among those that are evaluated"):
        evaluate_models(evaluated, model, SETTINGS, tmp_path / "all", train=read_benchmark(wrong))
    for number in range(12):
        save_noise(wrong / list(names)[number % 3] / f"other{number}.jpg", 500 + number)
    run = evaluate_models(evaluated, model, SETTINGS, tmp_path / "run", train=read_benchmark(wrong))
    assert run.info.models[0].description["head"]["photos"] == 12
    assert any(
        "byte-identical photos are evaluated: 48 photos of wrong." in line for line in run.info.warnings
    )
    for path in [*wrong.rglob("common*"), *wrong.rglob("counter*")]:
        path.unlink()
    clean = evaluate_models(evaluated, model, SETTINGS, tmp_path / "clean", train=read_benchmark(wrong))
    assert clean.predictions["predicted_index"].equals(run.predictions["predicted_index"])


def test_features_are_computed_once_for_all_heads(photos, tiny_clip, tmp_path, monkeypatch):
    from counterground.models._networks import TorchDualEncoder

    seen, encode = [], TorchDualEncoder.encode
    monkeypatch.setattr(TorchDualEncoder, "encode", lambda self, batch: seen.append(1) or encode(self, batch))
    clip = f"open_clip:{tiny_clip}"
    models = [clip, f"{clip}?head=knn&k=1", f"{clip}?head=logistic&C=1"]
    benchmark = read_benchmark(photos)
    run = evaluate_models(benchmark, models, SETTINGS, tmp_path / "run")
    tried = 3 * len(models)  # each model tries one photo: alone, and twice in a pair
    assert len(seen) == 6 + tried, "48 photos, in blocks of 8"
    assert len({record.fingerprint for record in run.info.models}) == 3
    shutil.rmtree(photos)
    later = evaluate_models(benchmark, f"{clip}?head=prototypes", SETTINGS, tmp_path / "later")
    assert len(later.predictions) == 48
    assert len(seen) == 6 + tried


def test_training_photos_are_encoded_once_for_all_heads(photos, tiny_clip, tmp_path, monkeypatch):
    """Also where the encoder itself, which needs none, comes first."""
    from counterground.models._networks import TorchDualEncoder

    seen, encode = [], TorchDualEncoder.encode
    monkeypatch.setattr(
        TorchDualEncoder, "encode", lambda self, batch: seen.append(len(batch)) or encode(self, batch)
    )
    others = save_animals(tmp_path / "others")
    for number, path in enumerate(sorted(others.rglob("*.jpg"))):
        save_noise(path, 400 + number)
    clip = f"open_clip:{tiny_clip}"
    models = [clip, f"{clip}?head=knn&k=1", f"{clip}?head=logistic&C=1"]
    evaluate_models(read_benchmark(photos), models, SETTINGS, tmp_path / "run", train=read_benchmark(others))
    assert sum(number for number in seen if number == 8) == 2 * 48


@pytest.mark.slow
def test_a_tower_without_text_stands_beside_its_clip_and_an_imagenet_model(stamps, tmp_path):
    """Does language help? One tower with its text head and with fitted heads, and a model of ImageNet."""
    torch.manual_seed(0)
    weights = tmp_path / "tower.pth"
    torch.save(timm.create_model("test_vit", num_classes=0).state_dict(), weights)
    clip, imagenet = "counterground:stamps-biased", "efficientnet-lite0"
    tower = f"tower=timm:test_vit@{weights}?head=knn&k=1"
    models = [clip, f"{clip}?head=logistic&C=1", imagenet, f"{imagenet}?head=linear&alpha=1", tower]
    group = pl.when(pl.col("background").is_in(("grass", "rock", "sky"))).then(pl.lit("common"))
    few = replace(stamps, photos=stamps.photos.with_columns(group=group.otherwise(pl.lit("counter"))))
    out = tmp_path / "run"
    cg.evaluate(
        few,
        models,
        out=out,
        label_space="benchmark",
        device="cpu",
        settings=EvaluateSettings(runtime="eager"),
    )
    table = pl.read_parquet(out / "predictions.parquet")
    rows = dict(table.group_by("model").len().iter_rows())
    assert rows == dict.fromkeys([*models[:4], "tower"], 36)
    told = dict(table.select("model", "prompts").unique().iter_rows())
    assert told[clip] == "simple"
    assert told[models[1]] == "logistic C=1, cross-fitted"
    assert told["tower"] == "knn k=1, cross-fitted"
    info = cg.open_run(out).info
    kinds = {model.name: model.kind for model in info.models}
    assert kinds["tower"] == kinds[models[1]] == "image_encoder"
    assert kinds[clip] == "dual_encoder"
    assert "was fitted on 36 photos of" in info.model_warnings["tower"][-1]
    assert "scikit-learn" in info.libraries
    pairs = {frozenset(pair) for pair in cg.compare(out).tests.select("model", "versus").iter_rows()}
    assert {
        frozenset((clip, models[1])),
        frozenset((models[1], imagenet)),
        frozenset((clip, "tower")),
    } <= pairs


def evaluate(photos, out, *words):
    space = ["--label-space", "benchmark", "--device", "cpu", "--out", str(out)]
    return main(["evaluate", str(photos), *map(str, words), *space])


MISTAKES = {
    "an unknown head": (
        "head=knm",
        "Unknown head 'knm'",
    ),
    "a number of another head": ("head=knn&C=1", "a knn head does not take C="),
    "no number": ("head=logistic&C=high", "convert string to float: 'high'"),
    "half a neighbour": ("head=knn&k=1.5", "k must be a whole number above 0, not 1.5."),
    "a negative number": ("head=linear&alpha=-1", "alpha must be a number above 0, not -1."),
    "more neighbours than photos": (
        "head=knn&k=39",
        "k=39 is more than the 38 photos that the head is fitted",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_head_is_one_line_before_any_photo_is_read(
    mistake, photos, tiny_clip, tmp_path, capsys, cache
):
    options, said = MISTAKES[mistake]
    assert evaluate(photos, tmp_path / "run", "-m", f"open_clip:{tiny_clip}?{options}") == 2
    err = capsys.readouterr().err
    assert said in " ".join(err.split())
    assert "Traceback" not in err
    assert not (cache / "features").exists()


def of_classes(photos, target, *names):
    for name in names:
        shutil.copytree(photos / name, target / name)
    for number, path in enumerate(sorted(target.rglob("*.jpg"))):  # other photos than those evaluated
        save_noise(path, 2000 + number)
    return target


def test_training_photos_that_cannot_do_are_refused(photos, tiny_clip, tmp_path, capsys):
    model = ("-m", f"open_clip:{tiny_clip}?head=logistic")

    def refused(*words, benchmark=photos):
        assert evaluate(benchmark, tmp_path / "run", *words) == 2
        return " ".join(capsys.readouterr().err.split())

    two = of_classes(photos, tmp_path / "two", "ice bear", "flamingo")
    assert "two has no photo of class 'black swan' to fit a head on." in refused(*model, "-X", f"train={two}")
    shutil.copytree(photos / "black swan", two / "black swan")
    said = refused(*model, "-X", f"train={two}")
    assert "has no photo of class 'black swan', besides those that are evaluated, to fit a head on." in said
    one = of_classes(photos, tmp_path / "one", "ice bear")
    said = refused(*model, benchmark=one)
    assert (
        "all photos that a head can be fitted on are of class 'ice bear'; it needs two classes: add photos of"
        in said
    )


def test_all_names_of_imagenet_need_training_photos(photos, tiny_clip, tmp_path):
    settings = replace(SETTINGS, label_space=None)
    with pytest.raises(
        UsageError, match=r"photos of 3 of the 1,000 names that compete.*--label-space benchmark"
    ):
        evaluate_models(read_benchmark(photos), f"open_clip:{tiny_clip}?head=knn", settings, tmp_path / "run")


def test_a_class_of_one_cluster_cannot_be_cross_fitted(photos, tiny_clip, tmp_path):
    benchmark = clustered(photos)
    swans = pl.when(pl.col("class_name") == "black swan").then(pl.lit("one pond")).otherwise("cluster")
    benchmark = replace(benchmark, photos=benchmark.photos.with_columns(cluster=swans))
    with pytest.raises(UsageError, match=r"no photo of class 'black swan' is left.*-X train=BENCHMARK"):
        evaluate_models(benchmark, f"open_clip:{tiny_clip}?head=knn", SETTINGS, tmp_path / "run")


def test_two_clusters_of_each_class_are_enough(tiny_clip, tmp_path):
    few = read_benchmark(save_animals(tmp_path / "few", per_group=1))
    run = evaluate_models(few, f"open_clip:{tiny_clip}?head=knn&k=1", SETTINGS, tmp_path / "run")
    assert len(run.predictions) == 6
    assert run.info.models[0].description["head"]["cross_fitted_parts"] == 2


def test_unreadable_photos_are_left_out_of_training_and_counted(photos, tiny_clip, tmp_path):
    (photos / "flamingo/common-water/1.jpg").write_bytes(b"no photo")
    run = evaluate_models(
        read_benchmark(photos), f"open_clip:{tiny_clip}?head=prototypes", SETTINGS, tmp_path / "run"
    )
    assert run.info.models[0].description["head"]["photos"] == 47
    assert len(run.predictions) == 47
    train = of_classes(photos, tmp_path / "train", "ice bear", "black swan", "flamingo")
    (train / "flamingo/common-water/1.jpg").write_bytes(b"no photo either")
    run = evaluate_models(
        read_benchmark(photos),
        f"open_clip:{tiny_clip}?head=prototypes",
        SETTINGS,
        tmp_path / "trained",
        train=read_benchmark(train),
    )
    assert "1 training photo could not be read." in run.info.models[0].description["warnings"]


def test_a_class_none_of_whose_training_photos_can_be_read_is_named(photos, tiny_clip, tmp_path):
    model = f"open_clip:{tiny_clip}?head=prototypes"
    train = of_classes(photos, tmp_path / "train", "ice bear", "black swan", "flamingo")
    for number, path in enumerate((train / "flamingo").rglob("*.jpg")):
        path.write_bytes(b"no photo %d" % number)
    with pytest.raises(UsageError, match=r"no photo of class 'flamingo' in train, .* can be read: replace"):
        evaluate_models(
            read_benchmark(photos), model, SETTINGS, tmp_path / "run", train=read_benchmark(train)
        )
    two = of_classes(photos, tmp_path / "two", "ice bear", "black swan")
    for number, path in enumerate((two / "ice bear").rglob("*.jpg")):
        path.write_bytes(b"no photo either %d" % number)
    with pytest.raises(UsageError, match=r"no photo of class 'ice bear' in two, .* can be read: replace"):
        evaluate_models(read_benchmark(two), model, SETTINGS, tmp_path / "run")


def test_an_object_in_memory_gets_a_head(photos, tmp_path):
    from torchvision import transforms

    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(4), torch.nn.Flatten())
    resize = transforms.Compose([transforms.Resize((32, 32)), transforms.ToTensor()])
    run = cg.evaluate(
        photos,
        (network, resize, HeadSpec("prototypes")),
        out=tmp_path / "run",
        label_space="benchmark",
        report=False,
    )
    benchmark = read_benchmark(photos)
    with torch.no_grad():
        pixels = [resize(Image.open(benchmark.photo_path(path))) for path in benchmark.photos["path"]]
        matrix = network(torch.stack(pixels)).numpy()
    labels = benchmark.photos["class_index"].to_numpy()
    expected = np.zeros(len(labels), dtype=int)
    for training, own in StratifiedGroupKFold(5).split(
        matrix, labels, benchmark.photos["photo_id"].rank("dense")
    ):
        expected[own] = HEADS["prototypes"].fit(matrix[training], labels[training]).predict(matrix[own])
    assert run.predictions["predicted_index"].to_list() == expected.tolist()
