"""Masks by models: only under a licence that was accepted, and the same as transformers itself gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from masked_photos import SIZE, ellipse, make_benchmark, pixels
from PIL import Image

from counterground.errors import UsageError
from counterground.masks import make_masks
from counterground.settings import MaskSettings

LABELS = {0: "rock", 1: "Ice_Bear", 2: "tree", 3: "sky"}
BOXES = {"box_x": [15.0, None], "box_y": [8.0, None], "box_width": [30.0, None], "box_height": [24.0, None]}


@pytest.fixture
def benchmark(tmp_path):
    return make_benchmark(tmp_path / "photos", {"a.png": ellipse(), "b.png": ellipse()})


@pytest.fixture
def segformer(tmp_path):
    """A tiny semantic segmentation model with random weights."""
    from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

    torch.manual_seed(0)
    small = {"num_encoder_blocks": 2, "depths": [1, 1], "sr_ratios": [2, 1], "hidden_sizes": [8, 16]}
    small |= {"patch_sizes": [7, 3], "strides": [4, 2], "num_attention_heads": [1, 2], "mlp_ratios": [2, 2]}
    config = SegformerConfig(**small, decoder_hidden_size=16, id2label=LABELS)
    folder = tmp_path / "segformer"
    network = SegformerForSemanticSegmentation(config).eval()
    network.decode_head.classifier.bias.data[3] = -100.0  # it never finds a sky
    network.save_pretrained(folder)
    SegformerImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.fixture
def sam(tmp_path):
    """A tiny model that is asked by boxes, with random weights and the licence in its model card."""
    from transformers import SamConfig, SamImageProcessor, SamModel, SamProcessor

    torch.manual_seed(0)
    side = {"image_size": 64, "patch_size": 8}
    config = SamConfig(
        vision_config={
            **side,
            "hidden_size": 16,
            "num_pos_feats": 8,
            "output_channels": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "global_attn_indexes": [0],
            "window_size": 0,
        },
        prompt_encoder_config={
            **side,
            "hidden_size": 16,
            "image_embedding_size": 8,
            "mask_input_channels": 4,
        },
        mask_decoder_config={
            "hidden_size": 16,
            "mlp_dim": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    )
    folder = tmp_path / "sam"
    SamModel(config).eval().save_pretrained(folder)
    images = SamImageProcessor(
        size={"longest_edge": 64},
        pad_size={"height": 64, "width": 64},
        mask_pad_size={"height": 16, "width": 16},
        mask_size={"longest_edge": 16},
    )
    SamProcessor(images).save_pretrained(folder)
    (folder / "README.md").write_text("---\nlicense: other\nlicense_name: tiny-1.0\n---\n# Tiny\n")
    return folder


def accepting(*licences):
    return MaskSettings(accept_licences=licences)


def test_a_model_that_names_its_segments_gives_what_transformers_gives(benchmark, segformer, tmp_path):
    from transformers import pipeline

    settings = MaskSettings(device="cpu", accept_licences=("unverified",))
    masks = make_masks(benchmark, f"hf:{segformer}", tmp_path / "masks", settings=settings)
    shown = pipeline("image-segmentation", model=str(segformer))(Image.open(tmp_path / "photos/a.png"))
    expected = [each["mask"] for each in shown if each["label"] == "Ice_Bear"]
    row = masks.table.row(0, named=True)
    assert len(expected) == 1, "the random weights must find the class: choose another seed"
    assert (pixels(tmp_path / "masks" / row["mask"]) == np.asarray(expected[0])).all()
    assert masks.rough
    assert masks.description["weights"]["licence"] == "unverified"
    assert any("under the licence of its weights (unverified)" in note for note in masks.notes)


def test_a_model_that_is_asked_by_boxes_gives_what_transformers_gives(sam, tmp_path):
    from transformers import SamModel, SamProcessor

    benchmark = make_benchmark(tmp_path / "photos", {"a.png": ellipse(), "b.png": ellipse()}, **BOXES)
    masks = make_masks(
        benchmark,
        f"hf:{sam}",
        tmp_path / "masks",
        settings=MaskSettings(device="cpu", accept_licences=("tiny-1.0",)),
    )
    model, processor = SamModel.from_pretrained(sam).eval(), SamProcessor.from_pretrained(sam)
    photo = Image.open(tmp_path / "photos/a.png").convert("RGB")
    inputs = processor(photo, input_boxes=[[[15.0, 8.0, 45.0, 32.0]]], return_tensors="pt")
    with torch.inference_mode():
        outputs = model(**inputs)
    proposed = processor.post_process_masks(
        outputs.pred_masks, inputs["original_sizes"], inputs["reshaped_input_sizes"]
    )[0]
    best = int(outputs.iou_scores[0, 0].argmax())
    expected = proposed[0, best].numpy().astype(np.uint8) * 255
    assert expected.shape == SIZE[::-1]
    assert (pixels(tmp_path / "masks/files/a.png.png") == expected).all()
    assert masks.table["reason"].to_list()[1] == "no box"
    assert masks.description["weights"]["licence"] == "tiny-1.0"


def test_licences_are_accepted_by_name_before_anything_is_made(benchmark, sam, tmp_path):
    for accepted in ((), ("mit",)):
        with pytest.raises(UsageError, match=r"licence 'tiny-1.0'.*add --accept-licence tiny-1.0"):
            make_masks(benchmark, f"hf:{sam}", tmp_path / "masks", settings=accepting(*accepted))
    with pytest.raises(UsageError, match=r"rembg:bria-rmbg have the licence 'bria-rmbg-2.0'.*paid agreement"):
        make_masks(benchmark, "rembg:bria-rmbg", tmp_path / "masks")
    with pytest.raises(UsageError, match=r"'unverified'.*This was not verified.*--accept-licence unverified"):
        make_masks(benchmark, "rembg:silueta", tmp_path / "masks")
    assert not (tmp_path / "masks").exists()
