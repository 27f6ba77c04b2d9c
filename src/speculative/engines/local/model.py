"""The model in ONNX Runtime: appends to one row, or steps many rows at once."""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speculative.engines.local.weights import AGAIN, Array, Shape, initializers
from speculative.errors import WeightsError

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
PIECE = 128
"""The most tokens of one append. Attention takes queries by the 128, and one that is left over would be rounded differently."""


def memory(shape: tuple[int, ...]) -> Array:
    """Returns zeroed float32 memory on page boundaries, allocated when touched.

    Small pages: with huge ones a short text in a long row would cost, and clear, two megabytes for each of its parts.
    """
    size = max(4 * math.prod(shape), 1)
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
    pages = mmap.mmap(-1, size, **private)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        with suppress(OSError):  # a kernel without huge pages
            pages.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(pages, np.float32, math.prod(shape)).reshape(shape)


class Rows:
    """Holds the inputs and outputs of a step: token, position, length, logits."""

    def __init__(self, rows: int, vocabulary: int) -> None:
        self.ids: Longs = np.zeros((rows, 1), np.int64)
        self.last: Ints = np.zeros(rows, np.int32)
        self.lengths: Ints = np.zeros(rows, np.int32)
        self.logits = memory((rows, vocabulary))


class Model:
    """Wraps the ONNX session and its bindings.

    `kv` is [2 x layers, rows, kv heads, positions, head size] float32.
    """

    def __init__(self, folder: Path, positions: int | None = None, threads: int = 1) -> None:
        self.shape = Shape.read(folder)
        self.positions = min(positions or self.shape.positions, self.shape.positions)
        weights = initializers(folder, self.shape)
        graph = folder / "graph.onnx"
        if not graph.is_file():
            raise WeightsError(f"{graph}: there is no such file; {AGAIN}")
        runtime: Any = import_module("onnxruntime")
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        # The graph is written with the fused operators: searching for more finds none and takes as long as all the rest.
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        # One thread a model unless told: two engines on two cores then never wait for each other's helpers (bench/threads.py).
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.value: Callable[[NDArray[Any]], Any] = runtime.OrtValue.ortvalue_from_numpy  # shares the array's memory and keeps it
        self._weights = [self.value(values) for values in weights.values()]  # the session borrows them
        try:
            options.add_external_initializers(list(weights), self._weights)
            self.session: Any = runtime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the runtime's own classes, which it does not export
            raise WeightsError(f"{graph}: does not fit the weights beside it ({str(error).splitlines()[0]}); {AGAIN}") from error
        self.run: Callable[[Any], None] = self.session.run_with_iobinding
        self._bindings: dict[int, RowBinding] = {}  # for appends, by row
        self._bound_buffers: Array | None = None
        self._token_inputs: dict[int, tuple[Any, Any]] = {}

    @property
    def token_bytes(self) -> int:
        """Returns the bytes of keys and values for one token."""
        return 2 * self.shape.layers * self.shape.kv_heads * self.shape.head_size * 4

    def buffers(self, rows: int, positions: int) -> Array:
        """Returns new buffers for keys and values."""
        return memory((2 * self.shape.layers, rows, self.shape.kv_heads, positions, self.shape.head_size))

    def forget(self) -> None:
        """Drops the bindings to old buffers."""
        self._bindings, self._bound_buffers = {}, None

    def append(self, kv: Array, row: int, start: int, ids: Ints) -> Array:
        """Computes at most PIECE `ids` behind the first `start` tokens of a row.

        Returns logits [len(ids), vocabulary].

        Needs one position to spare.
        """
        if kv is not self._bound_buffers:
            self._bindings, self._bound_buffers = {}, kv
        if row not in self._bindings:
            self._bindings[row] = RowBinding(self, kv, row, row + 1)
        binding, count = self._bindings[row], len(ids)
        logits = np.empty((1, count, self.shape.vocabulary), np.float32)
        binding.bind_tokens(ids.astype(np.int64)[None], logits)
        seen = max(count, 2)
        binding.last[0], binding.lengths[0] = start + seen - 1, seen
        self.run(binding.io)
        return logits[0]

    def bind_rows(self, kv: Array, first: int, end: int, rows: Rows) -> RowBinding:
        """Returns the binding for steps of the rows first..end."""
        binding = RowBinding(self, kv, first, end, rows.last[first:end], rows.lengths[first:end])
        binding.bind_tokens(rows.ids[first:end], rows.logits[first:end, None])
        return binding

    def token_inputs(self, count: int) -> tuple[Any, Any]:
        """Returns the graph's inputs `spread` and `keep` for this many new tokens."""
        if count not in self._token_inputs:
            spread = np.zeros(2, np.int64) if count == 1 else np.arange(count, dtype=np.int64)
            self._token_inputs[count] = self.value(spread), self.value(np.arange(count, dtype=np.int64))
        return self._token_inputs[count]


class RowBinding:
    """Binds rows first..end of the buffers by address.

    Nothing is copied: the next run sees a value that was changed in place.
    """

    def __init__(self, model: Model, kv: Array, first: int, end: int, last: Ints | None = None, lengths: Ints | None = None) -> None:
        self._model = model
        self.io = model.session.io_binding()
        self.last: Ints = np.zeros(end - first, np.int32) if last is None else last
        self.lengths: Ints = np.zeros(end - first, np.int32) if lengths is None else lengths
        self._kept: dict[str, Any] = {}
        self.io.kept = self._kept  # the memory must live as long as the binding that has its address
        self._input("last", model.value(self.last))
        self._input("lengths", model.value(self.lengths))
        self._input("total", model.value(np.array(kv.shape[3], np.int32)))
        for layer in range(model.shape.layers):
            for place, part in enumerate(("key", "value")):
                buffer = model.value(kv[2 * layer + place, first:end])
                self._input(f"{part}.{layer}", buffer)
                self.io.bind_ortvalue_output(f"next_{part}.{layer}", buffer)

    def bind_tokens(self, ids: Longs, logits: Array) -> None:
        """Binds the input tokens [B, S] and the output logits [B, S, V]."""
        spread, keep = self._model.token_inputs(ids.shape[1])
        self._input("ids", self._model.value(ids))
        self._input("spread", spread)
        self._input("keep", keep)
        self._kept["logits"] = self._model.value(logits)
        self.io.bind_ortvalue_output("logits", self._kept["logits"])

    def _input(self, name: str, value: Any) -> None:
        self._kept[name] = value
        self.io.bind_ortvalue_input(name, value)
