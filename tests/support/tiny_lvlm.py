"""LVLMs of every family, built small from their configurations: random weights, their own processors."""

from __future__ import annotations

from pathlib import Path

WORDS = (
    "What is the main object in the image? Describe this image in detail. Is there a zebra in the image? "
    "Is this image a photo of an ice bear? A zebra. An ox. The African chameleon, a hamster and a flamingo "
    "are animals. USER: ASSISTANT: user assistant system Yes No"
)
_PICTURES = "{% for part in message['content'] | selectattr('type', 'equalto', 'image') %}"
_PICTURE = _PICTURES + "{{ '<image>\n' }}{% endfor %}"
_TEXT = "{% for part in message['content'] | selectattr('type', 'equalto', 'text') %}"
LLAVA_TEMPLATE = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    + _PICTURE
    + _TEXT
    + "{{ part['text'] + ' ' }}{% endfor %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
LLAVA_NEXT_TEMPLATE = (
    "{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' }}"
    + _PICTURE
    + _TEXT
    + "{{ part['text'] }}{% endfor %}{{ ' [/INST]' }}"
    "{% else %}{{ ' ' + message['content'][0]['text'] + '</s>' }}{% endif %}{% endfor %}"
)
QWEN_TEMPLATE = (
    "{% for message in messages %}"
    "{% if loop.first %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n{% for content in message['content'] %}"
    "{% if content['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
FAMILIES = ("llava", "llava_next", "instructblip", "qwen2_vl", "qwen2_5_vl")


def build(
    family: str, folder: Path, *, seed: int = 0, layers: int = 2, width: int = 32, image: int = 56
) -> Path:
    """Save a tiny model of ``family`` with its processor in ``folder``."""
    import torch

    torch.manual_seed(seed)
    model, processor = globals()[f"_{family}"](layers, width, image)
    _spread(model)
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _spread(model) -> None:
    """Scale random weights up: with the usual tiny ones, every answer looks alike."""
    import torch

    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "query_tokens" in name:
                parameter.normal_()
            elif parameter.ndim > 1:
                parameter.mul_(4.0)


def _sentencepiece_like():
    """Words begin with the mark of a space, and the tokenizer puts a start token first, as Llama's does."""
    from tokenizers import Tokenizer, decoders, models, normalizers, processors, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = ["<unk>", "<s>", "</s>", "<pad>", "<image>"]
    letters = [chr(code) for code in range(33, 127)] + ["▁", "\n"]
    trainer = trainers.BpeTrainer(vocab_size=260, special_tokens=special, initial_alphabet=letters)
    tokenizer.train_from_iterator(WORDS.split(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return _wrapped(tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>")


def _byte_level(*special: str):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator([WORDS], trainer)
    return _wrapped(tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")


def _wrapped(tokenizer, **tokens):
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **tokens)


def _clip_vision(width: int, image: int):
    from transformers import CLIPVisionConfig

    return CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=image,
        patch_size=14,
        projection_dim=width,
    )


def _llama(width: int, layers: int, vocabulary: int):
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=3,
    )


def _llava(layers: int, width: int, image: int):
    from transformers import CLIPImageProcessor, LlavaConfig, LlavaForConditionalGeneration, LlavaProcessor

    tokenizer = _sentencepiece_like()
    token = tokenizer.convert_tokens_to_ids("<image>")
    text = _llama(width, layers, len(tokenizer))
    config = LlavaConfig(vision_config=_clip_vision(width, image), text_config=text, image_token_index=token)
    pictures = CLIPImageProcessor(size={"shortest_edge": image}, crop_size={"height": image, "width": image})
    processor = LlavaProcessor(
        pictures,
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=LLAVA_TEMPLATE,
    )
    return LlavaForConditionalGeneration(config), processor


def _llava_next(layers: int, width: int, image: int):
    from transformers import (
        LlavaNextConfig,
        LlavaNextForConditionalGeneration,
        LlavaNextImageProcessor,
        LlavaNextProcessor,
    )

    tokenizer = _sentencepiece_like()
    token = tokenizer.convert_tokens_to_ids("<image>")
    grid = [[image, 2 * image], [2 * image, image], [2 * image, 2 * image], [3 * image, image]]
    config = LlavaNextConfig(
        vision_config=_clip_vision(width, image),
        text_config=_llama(width, layers, len(tokenizer)),
        image_token_index=token,
        image_grid_pinpoints=grid,
    )
    pictures = LlavaNextImageProcessor(
        size={"shortest_edge": image}, crop_size={"height": image, "width": image}, image_grid_pinpoints=grid
    )
    processor = LlavaNextProcessor(
        pictures,
        tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=LLAVA_NEXT_TEMPLATE,
    )
    return LlavaNextForConditionalGeneration(config), processor


def _instructblip_t5(layers: int, width: int, image: int):
    """InstructBLIP with an encoder-decoder, as the Flan-T5 ones have."""
    from transformers import InstructBlipConfig, InstructBlipForConditionalGeneration, T5Config

    model, processor = _instructblip(layers, width, image)
    text = T5Config(
        vocab_size=len(processor.tokenizer),
        d_model=width,
        d_kv=8,
        d_ff=2 * width,
        num_layers=layers,
        num_heads=4,
        decoder_start_token_id=3,
        pad_token_id=3,
        eos_token_id=2,
    )
    settings = {**model.config.to_dict(), "text_config": text.to_dict()}
    return InstructBlipForConditionalGeneration(InstructBlipConfig(**settings)), processor


def _llava_mistral(layers: int, width: int, image: int):
    """LLaVA whose language model sees a window of tokens only."""
    from transformers import LlavaConfig, LlavaForConditionalGeneration, MistralConfig

    model, processor = _llava(layers, width, image)
    text = _llama(width, layers, len(processor.tokenizer)).to_dict()
    kept = {
        key: value for key, value in text.items() if key not in ("model_type", "architectures", "head_dim")
    }
    settings = {**model.config.to_dict(), "text_config": MistralConfig(**kept, sliding_window=16).to_dict()}
    return LlavaForConditionalGeneration(LlavaConfig(**settings)), processor


def _instructblip(layers: int, width: int, image: int):
    from transformers import (
        BlipImageProcessor,
        InstructBlipConfig,
        InstructBlipForConditionalGeneration,
        InstructBlipProcessor,
        InstructBlipQFormerConfig,
        InstructBlipVisionConfig,
    )

    tokenizer, reader = _sentencepiece_like(), _sentencepiece_like()
    queries = 6
    processor = InstructBlipProcessor(
        BlipImageProcessor(size={"height": image, "width": image}),
        tokenizer,
        reader,
        num_query_tokens=queries,
    )
    sizes = {"hidden_size": width, "intermediate_size": 2 * width, "num_attention_heads": 2}
    config = InstructBlipConfig(
        vision_config=InstructBlipVisionConfig(
            **sizes, num_hidden_layers=2, image_size=image, patch_size=14, initializer_range=0.02
        ),
        qformer_config=InstructBlipQFormerConfig(
            **sizes, num_hidden_layers=2, vocab_size=len(reader), encoder_hidden_size=width
        ),
        text_config=_llama(width, layers, len(tokenizer)),
        num_query_tokens=queries,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    return InstructBlipForConditionalGeneration(config), processor


def _qwen_parts(layers: int, width: int):
    from transformers import Qwen2VLImageProcessor, Qwen2VLVideoProcessor

    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>")
    tokenizer = _byte_level(*special, "<|image_pad|>", "<|video_pad|>")
    ids = dict(
        zip(
            ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id"),
            tokenizer.convert_tokens_to_ids(
                ["<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"]
            ),
            strict=True,
        )
    )
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 1e6,
            "mrope_section": [1, 1, width // 8 - 2],
        },
        "bos_token_id": None,
        "eos_token_id": 2,
    }
    limits = {"size": {"shortest_edge": 28 * 28, "longest_edge": 28 * 28 * 400}}
    return tokenizer, ids, text, Qwen2VLImageProcessor(**limits), Qwen2VLVideoProcessor(**limits)


def _qwen2_vl(layers: int, width: int, image: int):
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration, Qwen2VLProcessor

    tokenizer, ids, text, pictures, films = _qwen_parts(layers, width)
    vision = {"depth": 2, "embed_dim": 32, "hidden_size": width, "num_heads": 2, "mlp_ratio": 2}
    processor = Qwen2VLProcessor(pictures, tokenizer, films, chat_template=QWEN_TEMPLATE)
    return Qwen2VLForConditionalGeneration(
        Qwen2VLConfig(vision_config=vision, text_config=text, **ids)
    ), processor


def _qwen2_5_vl(layers: int, width: int, image: int):
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor

    tokenizer, ids, text, pictures, films = _qwen_parts(layers, width)
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "out_hidden_size": width,
        "fullatt_block_indexes": [1],
        "window_size": 56,
    }
    processor = Qwen2_5_VLProcessor(pictures, tokenizer, films, chat_template=QWEN_TEMPLATE)
    return Qwen2_5_VLForConditionalGeneration(
        Qwen2_5_VLConfig(vision_config=vision, text_config=text, **ids)
    ), processor
