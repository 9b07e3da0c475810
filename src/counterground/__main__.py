"""``python -m counterground``."""

import sys

from counterground.cli import main

sys.exit(main())
