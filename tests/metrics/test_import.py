"""What reading a benchmark must not cost."""

import subprocess
import sys


def test_photos_and_metrics_do_not_load_scipy():
    check = "import sys, counterground.photos, counterground.metrics; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
