"""The paper's vision-language models (Table 5), as a set of specifications."""

from counterground.models import ModelSet

# MiniGPT-4 has no package: its checkout is expected here; if there is none, the message says how to get it.
LVLM = ModelSet("paper:lvlm", lambda: ["hf:llava-hf/llava-1.5-7b-hf", "minigpt4:MiniGPT-4"])
