"""ONNX files: the numbers of the network they were written from, and all that has to be said of them."""

from __future__ import annotations

import json
import sys
import warnings

import numpy as np
import onnx
import pytest
import torch
from noise_photos import noise
from PIL import Image

from counterground.errors import CounterGroundError, UsageError
from counterground.models import Classifier, check_specs, load_model
from counterground.photos import imagenet_names

SIDECAR = {
    "labels": "names.txt",
    "size": 24,
    "resize": 32,
    "interpolation": "bicubic",
    "mean": [0.5, 0.4, 0.3],
    "std": [0.2, 0.3, 0.4],
}


class Network(torch.nn.Module):
    def __init__(self, classes=3, last="logits", channels_last=False):
        super().__init__()
        torch.manual_seed(0)
        self.body = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 5, 2), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
        )
        self.last, self.kind, self.channels_last = torch.nn.Linear(8, classes), last, channels_last

    def forward(self, batch):
        if self.channels_last:
            batch = batch.permute(0, 3, 1, 2)
        logits = self.last(self.body(batch))
        if self.kind == "two":
            return logits, self.body(batch)
        return logits.softmax(dim=-1) if self.kind == "softmax" else logits


def export(path, network, shape=(1, 3, 24, 24), dynamic=(0,)):
    path.parent.mkdir(parents=True, exist_ok=True)
    names = ["logits", "features"] if network.kind == "two" else ["logits"]
    axes = {"pixels": {axis: f"axis{axis}" for axis in dynamic}}
    if 0 in dynamic:
        axes |= {name: {0: "axis0"} for name in names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(),
            (torch.zeros(shape, dtype=network.last.weight.dtype),),
            str(path),
            dynamo=False,
            input_names=["pixels"],
            output_names=names,
            dynamic_axes=axes,
        )
    (path.parent / "names.txt").write_text("ice bear\nmy own cat\nblack swan\n")
    return describe(path)


def describe(path, **changes):
    values = {key: value for key, value in {**SIDECAR, **changes}.items() if value is not None}
    path.with_name(f"{path.name}.json").write_text(json.dumps(values))
    return path


def load(path, **options):
    return load_model(f"onnx:{path}", device="cpu", **options)


@pytest.fixture(scope="module")
def photos():
    sizes = [(32, 32), (48, 40), (200, 60), (31, 90), (7, 5), (640, 480), (33, 32)]
    return [noise(size, seed) for seed, size in enumerate(sizes)]


@pytest.mark.parametrize("dynamic", [(0,), (), (0, 2, 3)], ids=["any batch", "batch of 2", "any size"])
@pytest.mark.parametrize("batch", [1, 7])
def test_logits_equal_the_torch_forward(dynamic, batch, tmp_path, photos):
    network = Network()
    model = load(export(tmp_path / "net.onnx", network, (2, 3, 24, 24), dynamic))
    assert isinstance(model, Classifier)
    pixels = torch.stack([model.preprocess(photo) for photo in photos])
    with torch.inference_mode():
        expected = network(pixels)
    ours = torch.cat([model.encode(part) for part in pixels.split(batch)])
    assert ours.dtype == torch.float32
    np.testing.assert_allclose(ours, expected, atol=1e-5)
    assert np.ptp(expected.numpy(), axis=0).min() > 1e-3
    assert model.imagenet_columns == (296, None, 100)
    assert model.class_names == ("ice bear", "my own cat", "black swan")


def test_channels_last(tmp_path, photos):
    network = Network(channels_last=True)
    model = load(export(tmp_path / "net.onnx", network, (1, 24, 24, 3)))
    pixels = torch.stack([model.preprocess(photo) for photo in photos])
    with torch.inference_mode():
        expected = network(pixels.permute(0, 2, 3, 1))
    np.testing.assert_allclose(model.encode(pixels), expected, atol=1e-5)


def test_a_graph_in_half_precision_is_given_half_precision(tmp_path, photos):
    network = Network().half()
    model = load(export(tmp_path / "net.onnx", network))
    pixels = torch.stack([model.preprocess(photo) for photo in photos])
    with torch.inference_mode():
        expected = network(pixels.half()).float()
    ours = model.encode(pixels)
    assert ours.dtype == torch.float32
    np.testing.assert_allclose(ours, expected, atol=5e-3)


def test_preprocessing_is_pillows_as_the_sidecar_says(tmp_path, photos):
    path = export(tmp_path / "net.onnx", Network())
    mean, std = np.array(SIDECAR["mean"]), np.array(SIDECAR["std"])
    wide = photos[2]
    cropped = wide.resize((int(32 * 200 / 60), 32), Image.Resampling.BICUBIC).crop((41, 4, 65, 28))
    expected = (np.asarray(cropped, np.float32) / 255 - mean) / std
    np.testing.assert_allclose(load(path).preprocess(wide).permute(1, 2, 0), expected, atol=1e-5)
    describe(path, resize="squash", interpolation="bilinear")
    squashed = wide.resize((24, 24), Image.Resampling.BILINEAR)
    expected = (np.asarray(squashed, np.float32) / 255 - mean) / std
    np.testing.assert_allclose(load(path).preprocess(wide).permute(1, 2, 0), expected, atol=1e-5)
    palette = wide.quantize(16)
    assert torch.equal(load(path).preprocess(palette), load(path).preprocess(palette.convert("RGB")))


def test_the_thousand_of_imagenet(tmp_path):
    path = describe(export(tmp_path / "net.onnx", Network(1000)), labels="imagenet", size=None)
    model = load(path)
    assert model.imagenet_columns == tuple(range(1000))
    assert model.class_names == imagenet_names("openai")
    assert model.description["parameters"] == sum(p.numel() for p in Network(1000).parameters())


def test_names_may_be_given_with_the_specification(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = describe(export(tmp_path / "net.onnx", Network()), labels=None)
    (tmp_path / "other.txt").write_text("rust spot\nscratch\nclean\n")
    model = load_model("onnx:net.onnx?labels=other.txt", device="cpu")
    assert model.class_names == ("rust spot", "scratch", "clean")
    with pytest.raises(UsageError, match="'labels': Field required"):
        load(path)
    with pytest.raises(UsageError, match="nowhere"):
        check_specs(["onnx:net.onnx?labels=nowhere.txt"])


def test_probabilities_become_logits_and_are_not_taken_for_them(tmp_path, photos):
    network = Network(last="softmax")
    path = export(tmp_path / "net.onnx", network)
    with pytest.raises(UsageError, match='"output": "probabilities"'):
        load(path)
    model = load(describe(path, output="probabilities"))
    pixels = torch.stack([model.preprocess(photo) for photo in photos])
    with torch.inference_mode():
        np.testing.assert_allclose(model.encode(pixels).softmax(dim=-1), network(pixels), atol=1e-6)


def test_logits_are_not_taken_for_probabilities(tmp_path, photos):
    network = Network()
    network.last.bias.data -= 2
    model = load(describe(export(tmp_path / "net.onnx", network), output="probabilities"))
    with pytest.raises(CounterGroundError, match=r"not probabilities.*net\.onnx\.json"):
        model.encode(torch.stack([model.preprocess(photo) for photo in photos]))


def test_of_several_outputs_one_is_named(tmp_path):
    path = export(tmp_path / "net.onnx", Network(last="two"))
    with pytest.raises(UsageError, match="gives logits, features"):
        load(path)
    assert load(describe(path, output_name="logits")).dim == 3
    with pytest.raises(UsageError, match="3 names for 8 outputs"):
        load(describe(path, output_name="features"))


def kept_outside(folder, name, file, seed):
    """A 3 x 3 tensor whose numbers are in a file beside the graph."""
    tensor = onnx.numpy_helper.from_array(np.eye(3, dtype=np.float32), name)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", file), ("offset", "0"), ("length", "36")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    numbers = np.random.default_rng(seed).normal(size=(3, 3)).astype(np.float32)
    (folder / file).write_bytes(numbers.tobytes())
    return tensor


def graph_with_weights_outside(folder, kind):
    make = onnx.helper.make_node
    names = ("a/w.bin", "b/w.bin") if kind == "folders" else ("a.bin", "b.bin")
    first, second = (
        kept_outside(folder, name, file, seed)
        for seed, (name, file) in enumerate(zip("ab", names, strict=True))
    )
    pixels = onnx.helper.make_tensor_value_info("pixels", onnx.TensorProto.FLOAT, ["n", 3, 24, 24])
    logits = onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["n", 3])
    nodes = [make("GlobalAveragePool", ["pixels"], ["pool"]), make("Flatten", ["pool"], ["flat"])]
    kept = [first, second]
    nodes += [make("MatMul", ["flat", "a"], ["hidden"]), make("MatMul", ["hidden", "b"], ["logits"])]
    graph = onnx.helper.make_graph(nodes, "net", [pixels], [logits], kept)
    opset = [onnx.helper.make_opsetid("", 17)]
    file = folder / "net.onnx"
    file.write_bytes(onnx.helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString())
    (folder / "names.txt").write_text("ice bear\nmy own cat\nblack swan\n")
    return describe(file), [folder / each for each in names]


@pytest.mark.parametrize("kind", ["initializers", "folders"])
def test_the_fingerprint_sees_the_sidecar_and_all_weights_outside_the_file(tmp_path, kind):
    path, (first, second) = graph_with_weights_outside(tmp_path, kind)
    before = load(path)
    pixels = torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    contents = first.read_bytes(), second.read_bytes()
    first.write_bytes(contents[1])
    same_twice = load(path)
    assert not torch.allclose(before.encode(pixels), same_twice.encode(pixels))
    second.write_bytes(contents[0])
    changed = load(path)
    other = load(describe(path, std=[0.2, 0.3, 0.5]))
    found = [before, same_twice, changed, other]
    assert len({model.fingerprint for model in found}) == 4
    assert {model.description["parameters"] for model in found} == {18}
    first.unlink()
    with pytest.raises(CounterGroundError, match="External data path does not exist"):
        load(path)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"mean": None}, "'mean'"),
        ({"labels": None}, "'labels'"),
        ({"meen": [0, 0, 0]}, "'meen'"),
        ({"labels": "nowhere.txt"}, "nowhere.txt"),
        ({"std": [1, 0, 1]}, "'std'"),
        ({"mean": [1, 1]}, "'mean'"),
        ({"interpolation": "cubic"}, "bicubic"),
        ({"resize": "crop"}, "'resize'"),
        ({"size": -1}, "'size'"),
        ({"output": "scores"}, "probabilities"),
    ],
)
def test_a_sidecar_with_a_mistake_is_found_before_any_work(changes, key, tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"never read")
    (tmp_path / "names.txt").write_text("ice bear\n")
    describe(path, **changes)
    with pytest.raises(UsageError) as caught:
        check_specs([f"onnx:{path}"])
    assert key in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_file_no_sidecar_no_json_no_package(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="there is no file"):
        check_specs([f"onnx:{tmp_path}/nowhere.onnx"])
    path = tmp_path / "net.onnx"
    path.write_bytes(b"no protobuf")
    with pytest.raises(UsageError, match=r'net\.onnx\.json, such as {"labels": "imagenet"'):
        check_specs([f"onnx:{path}"])
    (tmp_path / "net.onnx.json").write_text("{")
    with pytest.raises(CounterGroundError, match="not readable JSON"):
        check_specs([f"onnx:{path}"])
    (tmp_path / "names.txt").write_text("ice bear\n")
    describe(path)
    with pytest.raises(CounterGroundError, match="cannot open it"):
        load(path)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(CounterGroundError, match=r"pip install 'counterground\[onnx\]'"):
        load(path)


def graph(path, *inputs, kind=onnx.TensorProto.FLOAT, shape=("n", 3, 24, 24)):
    """Write a graph that flattens its first input."""
    given = [onnx.helper.make_tensor_value_info(name, kind, shape) for name in inputs]
    made = onnx.helper.make_tensor_value_info("y", kind, None)
    node = onnx.helper.make_node("Identity", [inputs[0]], ["y"])
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "g", given, [made]),
        opset_imports=[onnx.helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.save(model, str(path))
    (path.parent / "names.txt").write_text("ice bear\n")
    return describe(path)


def test_graphs_that_are_no_classifiers_of_photos(tmp_path):
    with pytest.raises(UsageError, match=r"takes pixels .*, tokens"):
        load(graph(tmp_path / "two.onnx", "pixels", "tokens"))
    with pytest.raises(UsageError, match=r"tensor\(uint8\)"):
        load(graph(tmp_path / "bytes.onnx", "pixels", kind=onnx.TensorProto.UINT8))
    with pytest.raises(UsageError, match=r"takes pixels .*\[.n., 3\]"):
        load(graph(tmp_path / "flat.onnx", "pixels", shape=("n", 3)))
    with pytest.raises(CounterGroundError, match=r"'y' is \(1, 3, 24, 24\) of float32 for 1 photo"):
        load(graph(tmp_path / "same.onnx", "pixels"))
    path = tmp_path / ("a" * 250)  # with .json it would be too long
    path.write_bytes(b"never read")
    with pytest.raises(UsageError, match="contains neither preprocessing nor class names"):
        load(path)
