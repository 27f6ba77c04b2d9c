"""Starts llama.cpp's server on a GGUF file."""

from __future__ import annotations

import os
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from speculative.engines.llamacpp import server
from speculative.engines.vllm.launch import LaunchConfig
from speculative.errors import UsageError

PROGRAM = "llama-server"
SLOTS = 4
"""Texts that a server writes side by side."""

CONTEXT = 8192
"""Positions of each slot. A model that was trained on fewer has those."""


class LlamaLaunch(LaunchConfig, frozen=True, tag="llama.cpp"):
    """The settings with which a GGUF file is served with llama.cpp.

    `python` is not used: the server is a program, or that of this Python's package.
    """

    program: ClassVar[str] = "llama.cpp"

    def run(self, port: int) -> list[str]:
        """Returns the command that serves the model on a port.

        Words of `args` come last, so they win.
        """
        own = ["--model", self.model, "--host", "127.0.0.1", "--port", str(port), "--alias", self.name or Path(self.model).stem]
        sizes = ["--ctx-size", str(CONTEXT * SLOTS), "--parallel", str(SLOTS), "--metrics"]
        return [*_program(), *own, *sizes, *self.more()]

    def environment(self) -> dict[str, str]:
        """Returns this process's environment, with the GPUs chosen."""
        return {**os.environ, **({"CUDA_VISIBLE_DEVICES": self.gpus} if self.gpus else {})}


def _program() -> list[str]:
    """Returns the program `llama-server`, else the server of the package xllamacpp."""
    if found := shutil.which(PROGRAM):
        return [found]
    if find_spec("xllamacpp") is not None:
        return [sys.executable, "-P", server.__file__]
    raise UsageError(
        f"a GGUF file needs llama.cpp's server, and there is none; install it ({sys.executable} -m pip install xllamacpp) "
        f"or put the program {PROGRAM} on the PATH"
    )
