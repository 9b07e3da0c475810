"""Greedy decoding of transformers models, whatever their ``generation_config.json`` asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


# Where an answer begins and ends, and tokens that are no part of one. All else that transformers knows
# (sampling, beams, penalties, a shortest length, a time limit) chooses another token than the likeliest.
_KEPT = frozenset(
    {
        "bos_token_id",
        "eos_token_id",
        "pad_token_id",
        "decoder_start_token_id",
        "forced_bos_token_id",
        "stop_strings",
        "bad_words_ids",
        "suppress_tokens",
        "begin_suppress_tokens",
    }
)


def decode_greedily(network: Any) -> list[dict[str, Any]]:
    """Reset all settings of ``network.generate`` that greedy decoding does not use; return those that stay.

    A language model inside the network may have settings of its own, which InstructBLIP's ``generate`` reads.
    What transformers does not know stays too, since code that came with the weights may need it.
    """
    from transformers import GenerationConfig

    known = set(GenerationConfig().to_dict()) - _KEPT  # type: ignore[no-untyped-call]
    found = []
    for module in _generators(network):
        given = module.generation_config.to_dict()
        kept = {
            name: value
            for name, value in given.items()
            if name not in known and value is not None and not name.startswith("_")
        }
        module.generation_config = GenerationConfig(**kept)  # type: ignore[no-untyped-call]
        found.append(kept)
    return found


def _generators(network: Any) -> Iterator[Any]:
    from transformers import GenerationConfig

    for module in network.modules():
        if isinstance(vars(module).get("generation_config"), GenerationConfig):
            yield module
