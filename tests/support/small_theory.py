"""`study theory --quick` on few pairs: for a process that imports this first."""

from counterground.paper import settings
from counterground.paper.study import theory  # its number of test pairs

theory._TEST = 500
_FEW = {"n": 100, "seeds": 1, "mu_spu": (1.5,), "p_spu": (0.9,)}
settings.TheorySettings.preset = lambda _settings: _FEW
