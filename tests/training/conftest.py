"""The training code is no part of the installed package: find it in the repository."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))


@pytest.fixture
def one_core():
    """PyTorch's threads wait for each other at every small product: on busy cores, a hundred times as long as they compute."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
