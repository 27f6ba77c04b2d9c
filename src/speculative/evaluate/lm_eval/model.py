"""The models `speculative` and `vllm_speculative` of lm-eval.

Importing this module registers them; it needs the package lm-eval.
"""

from __future__ import annotations

import atexit
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any, NoReturn

from speculative import __version__
from speculative._sync import run_in_background
from speculative.errors import UsageError
from speculative.evaluate.lm_eval import arguments
from speculative.evaluate.lm_eval.requests import Conversation, Request, RequestRunner, plan_requests, tasks_of
from speculative.pair import Pair
from speculative.runs.provenance import provenance
from speculative.splitreason import lm_eval as splitreason

NAME, SPLITREASON_NAME = "speculative", "vllm_speculative"

import_module("lm_eval.models")  # its own models come first: its registry fills itself only while it is empty
LM: Any = import_module("lm_eval.api.model").LM
register_model: Any = import_module("lm_eval.api.registry").register_model
tqdm: Any = import_module("tqdm").tqdm

log = logging.getLogger("lm_eval.speculative")
"""A child of lm-eval's own logger, so that our lines look like its own."""

LOG_EVERY_S = 10.0
"""Seconds between two lines about servers that load."""

OPEN: list[SpeculativeLM] = []


class LoadingLog:
    """Logs the progress of servers that load."""

    def __init__(self) -> None:
        self._next = 0.0

    def __call__(self, line: str) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + LOG_EVERY_S
            log.info(line)


@atexit.register
def close_all() -> None:
    """Closes every model that is open."""
    while OPEN:
        OPEN[-1].close()


@register_model(NAME)
class SpeculativeLM(LM):
    """Chains of a pair, as a model of lm-eval.

    lm-eval hands over all requests at once. The text after the thinking is the reply. Samples and traces are kept in the run folder
    `out` as they finish; the same arguments use them again.
    """

    def __init__(self, batch_size: Any = None, max_batch_size: Any = None, device: Any = None, **given: Any) -> None:
        """Opens the engines.

        `device` is not used: engines have their own. Raises `UsageError`, and the engines' own errors.
        """
        super().__init__()  # pyright: ignore[reportUnknownMemberType]
        self.batch_size = batch_size
        self.arguments = arguments.read(given, batch_size)
        self.runner = RequestRunner(self.arguments, self.arguments.out)
        OPEN.append(self)
        specs = self.arguments.specs
        self._pair = Pair.open(specs["big"], specs["small"], specs.get("judge"), options=self.arguments.options, tell=LoadingLog())
        self._pair.check(self.arguments.spec.method)

    def close(self) -> None:
        """Closes the engines and the run folder.

        lm-eval never does; the command or the end of the process does.
        """
        if self not in OPEN:
            return
        OPEN.remove(self)
        self.runner.close()
        if hasattr(self, "_pair"):
            run_in_background(self._pair.aclose())

    def generate_until(self, requests: Sequence[Request]) -> list[str]:
        """Returns the text after the thinking of each chain, which may be empty.

        Raises:
            EngineError, MethodError: A chain failed. Finished chains are kept.
        """
        planned, warnings = plan_requests(requests, self.arguments)
        for warning in warnings:
            log.warning(warning)
        if not self.runner.out:
            log.warning("nothing is kept: give --output_path DIR, or out=DIR in --model_args, and a run that is stopped can go on")
        origin = provenance(self._pair, **self.about, tasks=tasks_of(planned))
        with tqdm(total=len(planned), desc=f"chains of {self.arguments.spec.label}", unit="chain") as bar:
            samples = run_in_background(self.runner.write(planned, self._pair, bar.update, origin))
        return [sample.answer for sample in samples]

    def apply_chat_template(self, chat_history: Iterable[Mapping[str, Any]], add_generation_prompt: bool = True) -> str:
        """Keeps the turns as they are: each model has its own template."""
        return Conversation.of(chat_history)

    def chat_template(self, chat_template: bool | str = False) -> str:
        """Returns the words that lm-eval writes into its results."""
        return "of each model's own family"

    @property
    def tokenizer_name(self) -> str:
        """The name under which lm-eval caches requests."""
        return NAME

    def loglikelihood(self, requests: Sequence[Request]) -> NoReturn:
        """Refuses tasks that score given texts."""
        task = requests[0].task_name if requests else "the task"
        raise UsageError(
            f"{task}: it asks how likely given texts are (loglikelihood), which a chain of thought cannot say; "
            "choose a task that has the answer written (output_type: generate_until)"
        )

    loglikelihood_rolling = loglikelihood

    def set_cache_hook(self, cache_hook: Any) -> None:
        """Refuses `--use_cache`, whose key holds neither method nor model."""
        if cache_hook.dbdict is not None:
            raise UsageError("--use_cache would give one method the answers of another; leave it out, the run folder resumes (out=DIR)")

    def get_model_info(self) -> dict[str, Any]:
        """Returns the method and the cost of all chains for lm-eval's results."""
        return {NAME: {"library": __version__, **self.about, **self.runner.totals()}}

    @property
    def about(self) -> dict[str, Any]:
        """The entries of a run's provenance that this module knows."""
        spec = self.arguments.spec
        return {
            "door": "lm-eval",
            "methods": [spec.label],
            "method": spec.name,
            "params": spec.params,
            "settings": self.arguments.settings(self.arguments.problem),
            "seeds": [self.arguments.problem.seed],
            "at_once": self.arguments.chains,
        }


@register_model(SPLITREASON_NAME)
class SplitReasonLM(SpeculativeLM):
    """The model under SplitReason's name, with SplitReason's arguments."""

    def __init__(self, batch_size: Any = None, max_batch_size: Any = None, device: Any = None, **given: Any) -> None:
        """Opens the engines, and logs the arguments that are not used.

        Raises `UsageError`.
        """
        ours, unused = splitreason.translate_arguments(given)
        if unused:
            log.info("%s: not used here: %s", SPLITREASON_NAME, ", ".join(unused))
        super().__init__(batch_size, max_batch_size, device, **ours)  # pyright: ignore[reportUnknownMemberType]
