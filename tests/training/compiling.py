"""How tests train: `TRAINING`, the marks of tests in which PyTorch compiles."""

import pytest

TRAINING = [
    pytest.mark.slow,
    pytest.mark.torch,
    pytest.mark.timeout(600),
    pytest.mark.usefixtures("one_core"),
    # PyTorch's own compiler imports a class of its old one (torch.utils.mkldnn), once a process
    pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning:torch.jit._script"),
    # and it hides warnings about itself from the screen, but not from a filter that raises
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf Tensor:UserWarning"),
    pytest.mark.filterwarnings("ignore:<class 'torch.autograd.function.Function'> should not be instantiated:DeprecationWarning"),
]
