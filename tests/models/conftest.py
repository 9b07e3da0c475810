"""What the tests of all families share."""

import pytest
import torch


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Sums of several threads differ in the last bits from run to run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
