"""Runs of the paper's size, and a small one on another benchmark: those of the comparisons."""

import paper_sized

make_run, referee_run, small_run = paper_sized.make_run, paper_sized.referee_run, paper_sized.small_run
