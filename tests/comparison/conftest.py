"""Runs of the paper's size, and a small one on another benchmark."""

import paper_sized

make_run, referee_run, small_run = paper_sized.make_run, paper_sized.referee_run, paper_sized.small_run
