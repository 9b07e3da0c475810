"""CounterGround as it is without its extra `report`: for a process that imports this first."""

import sys

for name in [name for name in sys.modules if name.startswith("counterground.reporting")]:
    del sys.modules[name]
sys.modules["altair"] = None
