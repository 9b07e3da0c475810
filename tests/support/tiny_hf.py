"""Tiny models of transformers with random weights, saved as their authors save them, tokenizers included."""

from __future__ import annotations

import io
import json
import string
from functools import partial
from pathlib import Path
from typing import Any

from counterground.photos import imagenet_names

SIDE = 32
LETTERS = string.ascii_letters + string.digits + ".,'!"
KIN = ("altclip", "clipseg", "groupvit", "metaclip_2", "vision-text-dual-encoder")
ANIMALS = ("ice bear", "black swan", "flamingo")
_WORDS = ["a photo of ice bear", "black swan on water", "flamingo in the sky", "grass earth snow zebra quick"]
_TOWER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}


def build(name: str, folder: Path) -> Path:
    """Write the tiny model ``name`` into ``folder`` and return the folder."""
    import torch

    torch.manual_seed(0)
    {
        "clip": _clip,
        "siglip": _siglip,
        "siglip2": _siglip2_fixed,
        "naflex": _naflex,
        "align": _align,
        "chinese_clip": _chinese_clip,
        **{kin: partial(_kin, kin) for kin in KIN},
        "vit": lambda folder: classifier(folder, ANIMALS),
        "vit1000": lambda folder: classifier(folder, imagenet_names("wordnet")),
        "resnet": _resnet,
        "dinov2": _dinov2,
    }[name](folder)
    return folder


def classifier(folder: Path, names: Any) -> Path:
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    id2label = dict(enumerate(names))
    config = ViTConfig(**_TOWER, image_size=SIDE, patch_size=8, id2label=id2label)
    _spread(ViTForImageClassification(config).eval()).save_pretrained(folder)
    ViTImageProcessor(size={"height": SIDE, "width": SIDE}, image_mean=[0.5] * 3).save_pretrained(folder)
    return folder


def _dinov2(folder: Path) -> None:
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    Dinov2Model(Dinov2Config(**_TOWER, image_size=SIDE, patch_size=8)).eval().save_pretrained(folder)
    sides = {"height": SIDE, "width": SIDE}
    BitImageProcessor(size={"shortest_edge": SIDE}, crop_size=sides).save_pretrained(folder)


def clip_tokenizer() -> Any:
    from transformers import CLIPTokenizer

    letters = [*string.ascii_lowercase, *string.digits, *".,'!"]
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocab = {piece: index for index, piece in enumerate(pieces)}
    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=77)


def gemma_tokenizer(cls: Any = None, **options: Any) -> Any:
    """A tokenizer as SigLIP 2 ships it: both cases in the vocabulary, an end token, padding on the right."""
    from transformers import GemmaTokenizer

    pieces = [
        "<pad>",
        "<eos>",
        "<bos>",
        "<unk>",
        "<mask>",
        *LETTERS,
        "▁",
        *(f"<0x{n:02X}>" for n in range(256)),
    ]
    vocab = {piece: index for index, piece in enumerate(pieces)}
    usual = {"padding_side": "right", "model_input_names": ["input_ids"], "model_max_length": 64}
    return (cls or GemmaTokenizer)(
        vocab=vocab, merges=[], add_bos_token=False, add_eos_token=True, **{**usual, **options}
    )


def siglip_tokenizer(folder: Path, **options: Any) -> Any:
    import sentencepiece
    from transformers import SiglipTokenizer

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(_WORDS * 20),
        model_writer=model,
        vocab_size=60,
        hard_vocab_limit=False,
        unk_id=0,
        eos_id=1,
        bos_id=-1,
        pad_id=-1,
        minloglevel=2,
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spiece.model").write_bytes(model.getvalue())
    return SiglipTokenizer(str(folder / "spiece.model"), **{"model_input_names": ["input_ids"], **options})


def _clip(folder: Path) -> None:
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor

    tokenizer = clip_tokenizer()
    end = len(tokenizer) - 1
    text = {
        "vocab_size": len(tokenizer),
        "max_position_embeddings": 77,
        "eos_token_id": end,
        "pad_token_id": end,
    }
    config = CLIPConfig(
        text_config={**_TOWER, **text, "bos_token_id": end - 1}, vision_config=_vision(), projection_dim=16
    )
    _spread(CLIPModel(config).eval()).save_pretrained(folder)
    processor = CLIPImageProcessor(
        size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}, image_std=[0.3, 0.4, 0.5]
    )
    CLIPProcessor(processor, tokenizer).save_pretrained(folder)


def _siglip(folder: Path) -> None:
    from transformers import SiglipProcessor

    tokenizer = siglip_tokenizer(folder)
    SiglipProcessor(_siglip_images(), tokenizer).save_pretrained(folder)
    _siglip_model(folder, len(tokenizer))


def _siglip2_fixed(folder: Path) -> None:
    """SigLIP 2 of fixed resolution: SigLIP's architecture with Gemma's tokenizer, as on the hub."""
    from transformers import SiglipProcessor

    tokenizer = gemma_tokenizer()
    SiglipProcessor(_siglip_images(), tokenizer).save_pretrained(folder)
    _siglip_model(folder, len(tokenizer))


def _siglip_images() -> Any:
    from transformers import SiglipImageProcessor

    return SiglipImageProcessor(size={"height": SIDE, "width": SIDE})


def _siglip_model(folder: Path, vocabulary: int) -> None:
    from transformers import SiglipConfig, SiglipModel

    text = {**_TOWER, "vocab_size": vocabulary, "max_position_embeddings": 64, "projection_size": 32}
    model = SiglipModel(SiglipConfig(text_config=text, vision_config=_vision())).eval()
    model.logit_bias.data.fill_(-10.0)
    _spread(model).save_pretrained(folder)


def _naflex(folder: Path) -> None:
    from transformers import (
        Siglip2Config,
        Siglip2ImageProcessor,
        Siglip2Model,
        Siglip2Processor,
        Siglip2Tokenizer,
    )

    tokenizer = gemma_tokenizer(Siglip2Tokenizer)
    text = {**_TOWER, "vocab_size": len(tokenizer), "max_position_embeddings": 64, "projection_size": 32}
    vision = {**_TOWER, "patch_size": 16, "num_patches": 16}
    model = Siglip2Model(Siglip2Config(text_config=text, vision_config=vision)).eval()
    _spread(model).save_pretrained(folder)
    images = Siglip2ImageProcessor()
    Siglip2Processor(images, tokenizer).save_pretrained(folder)


def bert_tokenizer() -> Any:
    from transformers import BertTokenizer

    letters = string.ascii_lowercase + string.digits + ".,'!"
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    return BertTokenizer(vocab={piece: index for index, piece in enumerate(pieces)}, model_max_length=512)


def _align(folder: Path) -> None:
    from transformers import AlignConfig, AlignModel, AlignProcessor, EfficientNetImageProcessor

    tokenizer = bert_tokenizer()
    vision = {
        "image_size": SIDE,
        "hidden_dim": 32,
        "kernel_sizes": [3, 3],
        "in_channels": [32, 16],
        "out_channels": [16, 32],
        "strides": [1, 2],
        "num_block_repeats": [1, 1],
        "expand_ratios": [1, 2],
        "width_coefficient": 1.0,
        "depth_coefficient": 1.0,
    }
    text = {**_TOWER, "vocab_size": len(tokenizer), "max_position_embeddings": 96}
    model = AlignModel(AlignConfig(text_config=text, vision_config=vision, projection_dim=32)).eval()
    model.temperature.data.fill_(0.05)
    _spread(model, 0.4).save_pretrained(folder)
    images = EfficientNetImageProcessor(
        size={"height": 40, "width": 40}, do_center_crop=True, crop_size={"height": SIDE, "width": SIDE}
    )
    AlignProcessor(images, tokenizer).save_pretrained(folder)


def _chinese_clip(folder: Path) -> None:
    from transformers import (
        ChineseCLIPConfig,
        ChineseCLIPImageProcessor,
        ChineseCLIPModel,
        ChineseCLIPProcessor,
    )

    tokenizer = bert_tokenizer()
    text = {**_TOWER, "vocab_size": len(tokenizer), "max_position_embeddings": 96}
    config = ChineseCLIPConfig(text_config=text, vision_config=_vision(), projection_dim=16)
    _spread(ChineseCLIPModel(config).eval()).save_pretrained(folder)
    images = ChineseCLIPImageProcessor(
        size={"height": SIDE, "width": SIDE}, crop_size={"height": SIDE, "width": SIDE}, do_center_crop=False
    )
    ChineseCLIPProcessor(images, tokenizer).save_pretrained(folder)


def _kin(name: str, folder: Path) -> None:
    """Dual encoders beside the well-known families, each with CLIP's image processor."""
    import transformers as hf

    tokenizer = clip_tokenizer() if name in ("clipseg", "groupvit", "metaclip_2") else bert_tokenizer()
    bert = {**_TOWER, "vocab_size": len(tokenizer), "max_position_embeddings": 96, "pad_token_id": 0}
    both: dict[str, Any] = {"vision_config": _vision(), "projection_dim": 16}
    if name == "vision-text-dual-encoder":
        towers = hf.CLIPVisionConfig(**_vision()), hf.BertConfig(**bert)
        config = hf.VisionTextDualEncoderConfig.from_vision_text_configs(*towers, projection_dim=16)
        model = hf.VisionTextDualEncoderModel(config)
    elif name == "altclip":
        model = hf.AltCLIPModel(hf.AltCLIPConfig(text_config={**bert, "project_dim": 16}, **both))
    elif name == "clipseg":
        model = hf.CLIPSegModel(hf.CLIPSegConfig(text_config=_clip_text(tokenizer), **both))
    elif name == "metaclip_2":
        model = hf.MetaClip2Model(hf.MetaClip2Config(text_config=_clip_text(tokenizer), **both))
    else:
        stages = {"depths": [1, 1, 1], "num_group_tokens": [8, 4, 0], "num_output_groups": [8, 4, 4]}
        both |= {"vision_config": {**_vision(), "num_hidden_layers": 3, **stages}}
        text = _clip_text(tokenizer)
        model = hf.GroupViTModel(hf.GroupViTConfig(text_config=text, projection_intermediate_dim=24, **both))
    _spread(model.eval()).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    crop = {"height": SIDE, "width": SIDE}
    hf.CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=crop).save_pretrained(folder)


def _clip_text(tokenizer: Any) -> dict[str, Any]:
    end = len(tokenizer) - 1
    special = {"bos_token_id": end - 1, "eos_token_id": end, "pad_token_id": end}
    return {**_TOWER, "vocab_size": len(tokenizer), "max_position_embeddings": 77, **special}


def _resnet(folder: Path) -> None:
    from transformers import ConvNextImageProcessor, ResNetConfig, ResNetForImageClassification

    config = ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], id2label=dict(enumerate(ANIMALS[::-1]))
    )
    _spread(ResNetForImageClassification(config).eval()).save_pretrained(folder)
    ConvNextImageProcessor(size={"shortest_edge": SIDE}, crop_pct=0.875).save_pretrained(folder)


def _vision() -> dict[str, Any]:
    return {**_TOWER, "image_size": SIDE, "patch_size": 8}


def _spread(model: Any, noise: float = 0.1) -> Any:
    """Make every parameter matter: biases, norms and embeddings of a fresh model are zeros and ones."""
    import torch

    for name, parameter in model.named_parameters():
        if parameter.ndim > 0 and "logit" not in name and "temperature" not in name:
            parameter.data += noise * torch.randn_like(parameter)
    return model


def edit_json(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file; None removes one."""
    content = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
