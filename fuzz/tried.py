"""What trials of tables import, and no more: a small process is forked three times as fast as a large one."""

import forked  # noqa: F401 - it is called in the fork
import polars  # noqa: F401
import pyarrow  # noqa: F401
import run  # noqa: F401 - the fork runs it again as its main module, with these imports done
