"""docs/masks.md explains every option of the command, and every reason that masks.csv may give."""

from __future__ import annotations

import re
from pathlib import Path

from counterground.cli import counterground

PAGE = (Path(__file__).parents[2] / "docs" / "masks.md").read_text()


def test_every_option_is_explained():
    options = {long for option in counterground.find("data").commands["masks"].params for long in option.opts}
    for option in options - {"--quiet", "-q", "-o", "--overwrite", "--accept-license"}:
        assert re.search(rf"{option}(?![\w-])", PAGE), option
