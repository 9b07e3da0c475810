"""Well-known models of the Hugging Face hub, for ``counterground models``; any other name works as well."""

from __future__ import annotations

# Repository, the same architecture's name in OpenCLIP or timm (whose parameters are counted), training data.
DUAL_ENCODERS = (
    ("openai/clip-vit-base-patch32", "ViT-B-32", "WIT-400M (OpenAI)"),
    ("openai/clip-vit-base-patch16", "ViT-B-16", "WIT-400M (OpenAI)"),
    ("openai/clip-vit-large-patch14", "ViT-L-14", "WIT-400M (OpenAI)"),
    ("openai/clip-vit-large-patch14-336", "ViT-L-14-336", "WIT-400M (OpenAI)"),
    ("google/siglip-base-patch16-224", "ViT-B-16-SigLIP", "WebLI"),
    ("google/siglip-so400m-patch14-384", "ViT-SO400M-14-SigLIP-384", "WebLI"),
    ("google/siglip2-base-patch16-224", "ViT-B-16-SigLIP2", "WebLI"),
    ("google/siglip2-base-patch16-naflex", None, "WebLI"),
    ("kakaobrain/align-base", None, "COYO-700M"),
)
CLASSIFIERS = (
    ("google/vit-base-patch16-224", "vit_base_patch16_224.augreg_in1k", "ImageNet-21K, then ImageNet-1K"),
    ("microsoft/resnet-50", "resnet50.a1_in1k", "ImageNet-1K"),
    ("facebook/convnext-base-224", "convnext_base.fb_in1k", "ImageNet-1K"),
)
GENERATIVE = (
    "Qwen/Qwen2.5-VL-7B-Instruct",
    "Salesforce/instructblip-vicuna-7b",
    "llava-hf/llava-1.5-7b-hf",
    "llava-hf/llava-v1.6-mistral-7b-hf",
)
