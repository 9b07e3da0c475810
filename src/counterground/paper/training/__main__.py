"""``python -m counterground.paper.training RECIPE --out DIR``: train a small CLIP."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from counterground.errors import CounterGroundError, UsageError
from counterground.paper.training._stamps import DOSE, RECIPES, SCHEDULE, train_stamps


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status (0 done, 1 failed, 2 wrong usage)."""
    parser = argparse.ArgumentParser(
        prog="python -m counterground.paper.training", description=train_stamps.__doc__
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("recipe", choices=RECIPES)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder to write and resume from"
    )
    parser.add_argument("--packages", type=Path, metavar="DIR", help="folder with the .deb files")
    parser.add_argument(
        "--dose",
        type=float,
        default=DOSE,
        metavar="PERCENT",
        help="of stamps-biased: photos on the background planted on their caption's class (default 95)",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=SCHEDULE.steps, help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch; weights depend on it (default 1)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    options = parser.parse_args(arguments)

    import torch

    torch.set_num_threads(options.threads)
    try:
        out = train_stamps(
            options.recipe,
            options.out,
            packages=options.packages,
            dose=options.dose,
            seed=options.seed,
            steps=options.steps,
            progress=not options.quiet,
        )
    except CounterGroundError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    print(f"Wrote {out}; load it as open_clip:{out}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
