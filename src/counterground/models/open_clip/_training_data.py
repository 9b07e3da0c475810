"""What OpenCLIP weights were trained on, read from the tags their publishers gave them."""

from __future__ import annotations

# First match wins; sources: OpenCLIP's docs/PRETRAINED.md and the model cards it links.
_BY_PREFIX = (
    ("openai", "WIT-400M (OpenAI)"),
    ("laion400m", "LAION-400M"),
    ("laion2b", "LAION-2B"),
    ("laion5b", "LAION-5B"),
    ("laiona", "LAION-Aesthetic"),
    ("laion_aesthetic", "LAION-Aesthetic"),
    ("frozen_laion5b", "LAION-5B"),
    ("yfcc15m", "YFCC-15M"),
    ("cc12m", "CC-12M"),
    ("redcaps", "RedCaps"),
    ("datacomp_xl", "DataComp-1B"),
    ("datacomp1b", "DataComp-1B"),
    ("datacomp_s34b", "DataComp-1B"),
    ("datacomp_l", "DataComp-large"),
    ("datacomp_m", "DataComp-medium"),
    ("datacomp_s", "DataComp-small"),
    ("commonpool_xl", "CommonPool-XL"),
    ("commonpool_l", "CommonPool-large"),
    ("commonpool_m", "CommonPool-medium"),
    ("commonpool_s", "CommonPool-small"),
    ("dfn2b", "DFN-2B"),
    ("dfn5b", "DFN-5B"),
    ("dfndr2b", "DFNDR-2B"),
    ("metaclip2", "MetaCLIP 2 worldwide"),
    ("metaclip_400m", "MetaCLIP-400M"),
    ("metaclip_fullcc", "MetaCLIP-2.5B"),
    ("webli", "WebLI"),
    ("merged2b", "Merged-2B (LAION-2B + COYO)"),
    ("mscoco_finetuned", "LAION-2B, then MS-COCO"),
    ("datacompdr", "DataCompDR-1B"),
    ("mrl", "NLLB-CLIP (LAION-COCO captions, translated)"),
    ("v1", "NLLB-CLIP (LAION-COCO captions, translated)"),
    ("meta", "Perception Encoder (Meta)"),
)


def training_data_of(tag: str) -> str | None:
    """Return the training data behind an OpenCLIP tag, None if the tag does not say."""
    spelled = tag.lower().replace("-", "_")
    return next((data for prefix, data in _BY_PREFIX if spelled.startswith(prefix)), None)
