"""Small complete folders, drawn and written by the library itself; a target then changes one file in each."""

from __future__ import annotations

import csv
import gzip
import io
import json
import pickle
import struct
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
from PIL import Image, ImageDraw

from counterground.construction.exports import export
from counterground.files import read_record
from counterground.masks import make_masks
from counterground.photos import Benchmark, LabelSpace, benchmark_of_frame, write_benchmark

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/support"))

SIZE = (16, 12)
PHOTOS = ("ox/p0.png", "ox/p1.png", "hen/p2.png", "hen/p3.png")
_FORMATS = ("png", "jpeg", "webp", "gif", "bmp", "tiff", "ppm")


def picture(number: int, kind: str = "PNG", mode: str = "RGB") -> bytes:
    """Draw a photo of a few hundred bytes."""
    image = Image.new("RGB", SIZE, (40 * number, 120, 30))
    ImageDraw.Draw(image).ellipse((3, 2, 12, 9), fill=(200, 40 * number, 90))
    written = io.BytesIO()
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L"), np.uint16) * 257)
    else:
        image = image.convert(mode)
    image.save(written, kind)
    return written.getvalue()


def images() -> dict[str, bytes]:
    """Photos in every supported format, and in some modes."""
    drawn = {f"drawn.{kind}": picture(1, kind) for kind in _FORMATS}
    modes = {f"drawn-{mode}.png": picture(2, "PNG", mode) for mode in ("1", "L", "LA", "P", "RGBA", "I;16")}
    return drawn | modes


def photo(folder: Path) -> None:
    (folder / "photo").write_bytes(picture(1))


def photos(folder: Path) -> None:
    """Write photos in class folders."""
    for number, path in enumerate(PHOTOS):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(picture(number))


def rows() -> list[dict[str, object]]:
    """Rows of a manifest of the photos."""
    return [
        {
            "path": path,
            "class_name": path.partition("/")[0],
            "background": "grass" if number % 2 else "snow",
            "group": "counter" if number % 2 else "common",
            "cluster": f"c{number}",
            "width": 16.5 + number,
        }
        for number, path in enumerate(PHOTOS)
    ]


def manifest_csv(folder: Path) -> None:
    photos(folder)
    with (folder / "photos.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows()[0]))
        writer.writeheader()
        writer.writerows(rows())


def manifest_jsonl(folder: Path) -> None:
    photos(folder)
    questions = {"question": "Where is it?", "options": ["on grass", "on snow"], "answer": "on snow"}
    lines = [json.dumps(row | questions) for row in rows()]
    (folder / "photos.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def manifest_parquet(folder: Path) -> None:
    photos(folder)
    pl.DataFrame(rows()).write_parquet(folder / "photos.parquet")


def wide_manifest() -> dict[str, bytes]:
    """Return a manifest with questions, and with attributes of several types."""
    table = pl.DataFrame(rows()).with_columns(
        class_index=pl.col("class_name").rank("dense").cast(pl.Int16) - 1,
        question=pl.lit("Where is it?"),
        options=pl.lit(["on grass", "on snow"]),
        answer=pl.lit("on snow"),
        cluster=pl.col("cluster").cast(pl.Categorical),
        is_wild=pl.lit(value=True),
        taken=pl.lit("2026-11-28").str.to_date(),
        observer=pl.lit(None, pl.String),
    )
    written = io.BytesIO()
    table.write_parquet(written)
    return {"wide.parquet": written.getvalue()}


def addresses(folder: Path) -> None:
    lines = ["url,class_name,licence,taxon_id,background", "https://a.example/1.jpg,ox,CC0,12,grass"]
    lines += ["https://a.example/2.jpg,hen,CC-BY,,", '"https://b.example/3.jpg",hen,,7.0,"snow"']
    (folder / "photos.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def benchmark(folder: Path) -> Benchmark:
    photos(folder)
    return benchmark_of_frame(pl.DataFrame(rows()), folder, "drawn")


def native(folder: Path) -> None:
    write_benchmark(benchmark(folder / "photos"), folder)


def coco(folder: Path) -> None:
    photos(folder)
    (folder / "instances.json").write_text(json.dumps(annotations()), encoding="utf-8")


def annotations() -> dict[str, list[dict[str, object]]]:
    """COCO's format: polygons, and run-length encodings as a list and as text."""
    width, height = SIZE
    inside = {"size": [height, width], "counts": [30, 4, 8, 4, 8, 4, 134]}
    outlines: list[object] = [
        [[3, 2, 12, 2, 12, 9, 3, 9]],
        inside,
        inside | {"counts": "N484"},
        [[1, 1, 9, 1, 9, 9]],
    ]
    return {
        "images": [
            {"id": number, "file_name": path, "width": width, "height": height, "license": 1}
            for number, path in enumerate(PHOTOS)
        ],
        "categories": [{"id": 1, "name": "ox"}, {"id": 2, "name": "hen"}],
        "licenses": [{"id": 1, "name": "CC0", "url": "https://creativecommons.org/publicdomain/zero/1.0/"}],
        "annotations": [
            {
                "id": 10 + number,
                "image_id": number,
                "category_id": 1 + number // 2,
                "iscrowd": 0,
                "area": 40.5,
                "bbox": [3, 2, 9, 7],
                "segmentation": outlines[number],
            }
            for number in range(len(PHOTOS))
        ],
    }


def webdataset(folder: Path) -> None:
    (folder / "shard.tar").write_bytes(packed_tar())


def packed_tar(mode: str = "w") -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode=mode, format=tarfile.USTAR_FORMAT) as tar:
        for number, row in enumerate(rows()):
            said = json.dumps({name: row[name] for name in ("class_name", "background", "group")})
            members = {"png": picture(number), "json": said.encode(), "txt": b"a caption"}
            for suffix, data in members.items():
                info = tarfile.TarInfo(f"{number:04d}.{suffix}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return written.getvalue()


def packed_zip() -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as file:
        for number, path in enumerate(PHOTOS):
            file.writestr(path, picture(number))
    return written.getvalue()


def archives() -> dict[str, bytes]:
    """The photos in every kind of archive."""
    tars = {f"drawn.{suffix}": packed_tar(f"w:{suffix}") for suffix in ("gz", "bz2", "xz")}
    return {"drawn.tar": packed_tar(), "drawn.zip": packed_zip()} | tars


def archive(folder: Path) -> None:
    (folder / "archive").write_bytes(packed_tar())


def hf_parquet(folder: Path) -> None:
    frame = pl.DataFrame(
        {
            "image": [{"bytes": picture(number), "path": path} for number, path in enumerate(PHOTOS)],
            "class_name": [path.partition("/")[0] for path in PHOTOS],
            "background": ["snow", "grass"] * 2,
        }
    )
    (folder / "data").mkdir()
    frame.write_parquet(folder / "data" / "train-00000.parquet")


def hf_saved(folder: Path) -> None:
    """Write what the `datasets` library saves."""
    import datasets

    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["hen", "ox"])}
    )
    given = {
        "image": [{"bytes": picture(number), "path": None} for number in range(4)],
        "label": [1, 1, 0, 0],
    }
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict(given, features=features).save_to_disk(folder)


def exported(folder: Path, form: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        export(benchmark(Path(place)), folder, formats=[form], all_licences=True)


def packed(folder: Path) -> None:
    exported(folder / "own", "webdataset")


def croissant(folder: Path) -> None:
    exported(folder / "own", "croissant")
    (folder / "own/benchmark.json").unlink()  # beside it, the other file is not read


def mm_spubench(folder: Path) -> None:
    (folder / "data/images").mkdir(parents=True)
    asked = []
    for number in range(2):
        (folder / f"data/images/{number:06d}.png").write_bytes(picture(number))
        asked.append(
            {
                "question": "Where is it?",
                "choices": ["A. on grass", "B. on snow"],
                "answer": "B",
                "spurious_correlation_type": ["background"],
            }
        )
    (folder / "annotation.json").write_text(json.dumps(asked), encoding="utf-8")


def spuriverse(folder: Path) -> None:
    """Write a shard of SpuriVerse with two rows, and the table of their questions."""
    for part in ("data", "meta"):
        (folder / part).mkdir()
    rows = ["index,question,A,B,C,D,answer", '17,"What, in the snow?",A hotel,A house,A cabin,A shed,C']
    rows += ["18,Ice?,Yes,No,,,B", ""]
    (folder / "meta/seedbench_meta.csv").write_text("\n".join(rows), encoding="utf-8")
    columns: dict[str, list[object]] = {"image_id": ["17", "18"], "benchmark": ["seedbench_img"] * 2}
    for name in ("image", *(f"spurious_group_{number}" for number in range(1, 11))):
        columns[name] = [{"bytes": picture(number), "path": None} for number in range(2)]
    pl.DataFrame(columns).write_parquet(folder / "data/train-00000-of-00001.parquet")


def label_space(folder: Path) -> None:
    candidates = {0: (0, 1), 1: (1, 2), 2: (0, 2)}
    LabelSpace("mine", ("ox", "hen", "goat"), (345, 8, None), candidates).save(folder / "space.json")


def names(folder: Path) -> None:
    (folder / "names.txt").write_text("0 ox\n1 hen\n2 goat\n", encoding="utf-8")


def prompts(folder: Path) -> None:
    (folder / "prompts.txt").write_text("A photo of {}.\nA drawing of {}.\n", encoding="utf-8")


def aliases(folder: Path) -> None:
    (folder / "aliases.json").write_text('{"ox": ["cow", "bull"], "hen": ["chicken"]}', encoding="utf-8")


def mask_files(folder: Path) -> None:
    photos(folder / "photos")
    for path in PHOTOS:
        file = folder / "masks" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        mask = Image.new("L", SIZE)
        ImageDraw.Draw(mask).ellipse((3, 2, 12, 9), fill=255)
        mask.save(file)


def made_masks(folder: Path) -> None:
    mask_files(folder)
    made = make_masks(drawn(folder / "photos"), folder / "masks", folder / "made")
    assert made.usable == len(PHOTOS), made.summary()
    unsealed(folder / "made/masks.json")


def drawn(folder: Path) -> Benchmark:
    """Return the benchmark of photos that are already there."""
    return benchmark_of_frame(pl.DataFrame(rows()), folder, "drawn")


def waterbirds(folder: Path) -> None:
    """Write the layout of Waterbirds, with a few photos."""
    (folder / "001.Bird").mkdir()
    lines = ["img_id,img_filename,y,split,place,place_filename"]
    for number in range(8):
        (folder / f"001.Bird/Bird_{number}.jpg").write_bytes(picture(number % 5, "JPEG"))
        lines.append(
            f"{number},001.Bird/Bird_{number}.jpg,{number % 2},2,{number // 2 % 2},/o/ocean/{number}.jpg"
        )
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def metashift(folder: Path) -> None:
    """Write the layout of MetaShift, with a few photos."""
    found = {}
    for split in ("train", "val_out_of_domain"):
        for animal in ("cat", "dog"):
            (folder / split / animal).mkdir(parents=True)
            for place in ("indoor", "outdoor"):
                name = str(len(found))
                found[name] = [f"{animal}({place})"]
                (folder / split / animal / f"{name}.jpg").write_bytes(picture(len(found) % 5, "JPEG"))
    (folder / "imageID_to_group.pkl").write_bytes(pickle.dumps(found))


def unsealed(record: Path) -> None:
    """Leave out the seal, as earlier versions did: behind a seal, nothing that changed is read."""
    record.write_bytes(read_record(record))


def swapped(folder: Path) -> None:
    """Write a run on composites."""
    from disc_photos import disc_photos, foreground_only

    import counterground as cg

    cg.swap(
        disc_photos(folder / "photos", 2),
        foreground_only,
        out=folder / "run",
        label_space="benchmark",
        kinds=["original", "same", "other"],
        backgrounds_per_label=2,
        report=False,
        show_progress=False,
    )
    unsealed(folder / "run/run.json")


def discovered(folder: Path) -> None:
    """Write a run, and pairs that a model chose."""
    from noise_photos import save_animals

    import counterground as cg

    save_animals(folder / "photos", per_group=4)
    cg.discover(
        str(folder / "photos"),
        "colour_model:brightness",
        out=folder / "pairs",
        label_space="benchmark",
        min_drop=0,
        split="none",
        write_anyway=True,
        show_progress=False,
    )
    names = {"label_space": "benchmark", "show_progress": False}
    cg.evaluate(str(folder / "pairs"), "colour_model:brightness", out=folder / "run", **names)
    unsealed(folder / "pairs/discovery.json")


def mitigated(folder: Path) -> None:
    """Write a run of a model and of a mitigated one, with what the mitigation did."""
    from counterground.results import (
        Accuracies,
        ExportedHead,
        Figure,
        MethodRecord,
        MitigationRecord,
        PartRecord,
    )

    run(folder, {"clip": (0.8, 0.5), "clip, mitigated": (0.8, 0.7)})

    def figure(value: float, p: float | None = None) -> Figure:
        return Figure(value=value, low=value - 0.1, high=value + 0.1, p_holm=p)

    def accuracies(common: float, counter: float) -> Accuracies:
        drop = figure(common - counter)
        return Accuracies(
            common=figure(common),
            counter=figure(counter),
            drop=drop,
            worst_group=counter,
        )

    method = MethodRecord(
        name="mitigated",
        title="Mends it",
        source="nobody",
        model="clip, mitigated",
        group_labels={"fit": "used", "choose": "not used"},
        chosen_by="worst group",
        tried=3,
        settings=[{"C": 0.1}, {"C": 1.0}],
        mitigated=accuracies(0.8, 0.7),
        cost=figure(0.0, 0.9),
        gain=figure(0.2, 0.01),
        head=ExportedHead(file="heads/mitigated.safetensors", setting={"C": 0.1}, photos=24, clusters=10),
        cpu_seconds=1.5,
    )
    record = MitigationRecord(
        model="clip",
        benchmark="stamps@ab12",
        contrast="drop: group=common - group=counter",
        parts=[PartRecord(photos=12, clusters=5)] * 2,
        seed=0,
        tests=2,
        unmitigated=accuracies(0.8, 0.5),
        methods=[method],
        left_out={"other": "it needs masks"},
        notes=["A note."],
    )
    (folder / "run/mitigation.json").write_text(record.model_dump_json(indent=2), encoding="utf-8")


AREA = 20.0  # pixels, of the least object


def coloredcoco(folder: Path) -> None:
    """Write three photos of each class of ColoredCOCO, in COCO's folders."""
    from counterground.paper.study.coco import COCO_CLASSES

    outlines = annotations()["annotations"]
    images, listed = [], []
    (folder / "train2017").mkdir()
    for number in range(3 * len(COCO_CLASSES)):
        (folder / f"train2017/{number}.png").write_bytes(picture(number % 5))
        width, height = SIZE
        images.append({"id": number, "file_name": f"{number}.png", "width": width, "height": height})
        listed.append(
            outlines[number % 2] | {"id": number, "image_id": number, "category_id": 1 + number // 3}
        )
    categories = [{"id": number, "name": name} for number, name in enumerate(COCO_CLASSES, 1)]
    content = {"images": images, "annotations": listed, "categories": categories}
    (folder / "annotations").mkdir()
    (folder / "annotations/instances_train2017.json").write_text(json.dumps(content), encoding="utf-8")


def mnist(folder: Path) -> None:
    """Write 100 digits for training and 100 for the test in MNIST's format, some gzipped."""
    labels = np.arange(100, dtype=np.uint8) % 10
    images = np.zeros((100, 28, 28), np.uint8)
    images[:, 4:20, 12:16] = 200
    for part in ("train", "t10k"):
        for name, values in (("images-idx3", images), ("labels-idx1", labels)):
            data = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()
            if part == "train":
                (folder / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(data, mtime=0))
            else:
                (folder / f"{part}-{name}-ubyte").write_bytes(data)


def objectnet(folder: Path) -> None:
    """Write the layout of ObjectNet, with two classes."""
    (folder / "mappings").mkdir()
    mappings = {
        "folder_to_objectnet_label.json": {"banana": "Banana", "tv": "TV", "spoon": "Spoon"},
        "objectnet_to_imagenet_1k.json": {"Banana": "banana", "TV": "screen, CRT screen; television"},
        "pytorch_to_imagenet_2012_id.json": {"954": 0, "782": 1, "851": 2},
    }
    for name, content in mappings.items():
        (folder / "mappings" / name).write_text(json.dumps(content), encoding="utf-8")
    lines = ["banana", "screen, CRT screen", "television"]
    (folder / "mappings/imagenet_to_label_2012_v2").write_text("\n".join(lines), encoding="utf-8")
    for name in mappings["folder_to_objectnet_label.json"]:
        (folder / "images" / name).mkdir(parents=True)
        (folder / "images" / name / f"{name}.png").write_bytes(picture(1))


def open_data(folder: Path) -> None:
    """Write iNaturalist's dump with a few photos, one file gzipped."""
    from open_data_dump import write_dump, write_table

    seen = [f"{number:08d}-0000-4000-8000-000000000000" for number in range(4)]
    tables = {
        "taxa": [(5, "48460/1", 10, "species", "Bos", "true"), (6, "48460/1", 10, "species", "Gallus", "t")],
        "observations": [
            (uuid, 7, 1.5, 2.5, "", 5 + number % 2, "research", f"2024-0{number + 1}-01")
            for number, uuid in enumerate(seen)
        ],
        "observers": [(7, "ana", "Ana"), (8, "ben", "")],
    }
    write_dump(folder, tables, gz=False)
    photos = [(uuid, 100 + number, uuid, 7, "jpg", "CC-BY", 40, 30, 0) for number, uuid in enumerate(seen)]
    write_table(folder, "photos", photos)


def answers(folder: Path) -> None:
    """Write what iNaturalist and an endpoint answer."""
    taxon = {"id": 5, "name": "Bos", "rank": "genus", "preferred_common_name": "ox", "is_active": True}
    taxon |= {"observations_count": 12, "ancestor_ids": [48460, 1, 5], "matched_term": "ox"}
    photo = {"id": 9, "license_code": "cc-by", "url": "https://h.example/photos/9/square.jpg"}
    observation = {
        "id": 11,
        "uri": "https://h.example/observations/11",
        "observed_on": "2024-05-01",
        "taxon": taxon,
        "user": {"login": "ana"},
        "photos": [photo | {"attribution": "(c) Ana"}, photo | {"id": 10, "license_code": None}],
    }
    place = {"id": 9, "name": "Kruger", "display_name": "Kruger, ZA"}
    completion = {"choices": [{"message": {"content": "An ox.", "refusal": None}, "finish_reason": "stop"}]}
    for name, result in (("taxa", taxon), ("places", place), ("observations", observation)):
        content = {"total_results": 3, "results": [result]}
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "completion.json").write_text(json.dumps(completion), encoding="utf-8")


def head(folder: Path) -> None:
    """Write an exported head without its checksum, as earlier versions did."""
    import safetensors.numpy

    weight = np.linspace(-1, 1, 18, dtype=np.float32).reshape(6, 3)
    arrays = {"weight": weight, "bias": weight[0].copy(), "projection": np.eye(6, dtype=np.float32)}
    metadata = {"normalise": "true", "photos": "12", "model": "clip"}
    (folder / "head.safetensors").write_bytes(safetensors.numpy.save(arrays, metadata))


def models(folder: Path) -> None:
    """Write a small model in each kind of file, and class names."""
    import onnx
    import safetensors.numpy
    import torch
    from onnx import TensorProto, helper

    (folder / "labels.txt").write_text("ox\nhen\ngoat\n", encoding="utf-8")
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [None, 3, 8, 8])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [None, 3])
    nodes = [
        helper.make_node("GlobalAveragePool", ["pixels"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["logits"]),
    ]
    graph = helper.make_graph(nodes, "small", [pixels], [logits])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
        str(folder / "net.onnx"),
    )
    described = {"labels": "labels.txt", "size": 8, "resize": 8, "interpolation": "bilinear"}
    described |= {"mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2], "output": "logits"}
    (folder / "net.onnx.json").write_text(json.dumps(described), encoding="utf-8")
    state = {"layer.weight": np.ones((3, 2), np.float32), "layer.bias": np.ones(3, np.float32)}
    tensors = {name: torch.from_numpy(array) for name, array in state.items()}
    torch.save({"state_dict": tensors, "epoch": 3}, folder / "weights.pth")
    (folder / "weights.safetensors").write_bytes(safetensors.numpy.save(state))
    for name in ("hf", "clip", "gpt/minigpt4/common", "gpt/eval_configs"):
        (folder / name).mkdir(parents=True)
    names = {str(number): name for number, name in enumerate(("ox", "hen", "goat"))}
    config = {"architectures": ["ViTForImageClassification"], "model_type": "vit", "id2label": names}
    (folder / "hf/config.json").write_text(json.dumps(config), encoding="utf-8")
    clip = {"model_cfg": {"embed_dim": 8, "vision_cfg": {}, "text_cfg": {}}, "preprocess_cfg": {}}
    (folder / "clip/open_clip_config.json").write_text(json.dumps(clip), encoding="utf-8")
    (folder / "clip/open_clip_model.safetensors").write_bytes(safetensors.numpy.save(state))
    (folder / "gpt/minigpt4/common/config.py").write_text("", encoding="utf-8")
    (folder / "gpt/eval_configs/minigpt4_eval.yaml").write_text("model: {}\n", encoding="utf-8")
    (folder / "spec").write_text("efficientnet-lite0", encoding="utf-8")


SPECS = (
    "mine=counterground:stamps-biased?head=knn&k=5",
    "torchvision:resnet50/IMAGENET1K_V2",
    "torchvision:resnet18@weights.pth?labels=labels.txt",
    "timm:resnet18.a1_in1k?head=logistic&C=0.1",
    "timm:resnet18@weights.safetensors?labels=imagenet",
    "open_clip:ViT-B-32/laion2b_s34b_b79k",
    "open_clip:ViT-B-32@weights.pth",
    "open_clip:clip",
    "hf:openai/clip-vit-base-patch32@main",
    "hf:owner/name?trust_remote_code&backend=pil&head=linear&alpha=1e-3",
    "hf:hf?labels=labels.txt&backend=torchvision",
    "onnx:net.onnx?labels=labels.txt",
    "http://127.0.0.1:1/v1#model?jobs=2&timeout=3&retries=1&price=0.1",
    "https://127.0.0.1:1/v1?api-version=2#model",
    "minigpt4:gpt@eval_configs/minigpt4_eval.yaml",
    "paper:imagenet",
)


def specs() -> dict[str, bytes]:
    """Return values that `-m` takes, from every family."""
    return {f"spec-{number:02d}": spec.encode() for number, spec in enumerate(SPECS)}


def run(folder: Path, levels: dict[str, tuple[float, float]] | None = None) -> None:
    """Write a run of two models with made-up predictions."""
    from made_runs import fresh_run, write_run

    levels = levels or {"efficientnet-lite0": (0.8, 0.5), "counterground:stamps-biased": (0.7, 0.3)}
    write_run(fresh_run(levels, classes=["ice bear", "black swan"], per_group=6), folder / "run")
