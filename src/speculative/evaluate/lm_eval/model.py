"""The models `speculative` and `vllm_speculative` of lm-eval. Importing this registers them; it needs the package lm-eval."""

from __future__ import annotations

import atexit
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any, NoReturn

from speculative import version
from speculative.errors import UsageError
from speculative.evaluate.lm_eval import arguments
from speculative.evaluate.lm_eval.requests import Conversation, Request, RequestRunner, plan_requests, tasks_of
from speculative.pair import Pair
from speculative.runner import in_background
from speculative.runs.provenance import provenance
from speculative.splitreason import lm_eval as seed

NAME = "speculative"
SEED_NAME = "vllm_speculative"

import_module("lm_eval.models")  # its own models come first: its registry fills itself only while it is empty
LM: Any = import_module("lm_eval.api.model").LM
register_model: Any = import_module("lm_eval.api.registry").register_model
tqdm: Any = import_module("tqdm").tqdm

log = logging.getLogger("lm_eval.speculative")
"""Below lm-eval's own logger, so that what is told here looks like all that it tells."""


LOG_EVERY_S = 10.0
"""Seconds between two lines about servers that load."""

OPEN: list[SpeculativeLM] = []


class LoadingLog:
    """Logs how far servers are that load, every ten seconds at most."""

    def __init__(self) -> None:
        self._logged = -LOG_EVERY_S

    def __call__(self, line: str) -> None:
        if time.monotonic() - self._logged >= LOG_EVERY_S:
            self._logged = time.monotonic()
            log.info(line)


@atexit.register
def close_all() -> None:
    """Closes every model that is open."""
    while OPEN:
        OPEN[-1].close()


@register_model(NAME)
class SpeculativeLM(LM):
    """Chains of a pair, as a model of lm-eval.

    All requests come at once: `chains` of them are under way at any time. What comes back is the text after the thinking. Samples
    and traces are kept in the run folder `out` as they finish; with the same arguments they are not written again.
    """

    def __init__(self, batch_size: Any = None, max_batch_size: Any = None, device: Any = None, **told: Any) -> None:
        """`device` is of no use here: engines have their own. Raises `UsageError`, and the engines' own errors."""
        super().__init__()  # pyright: ignore[reportUnknownMemberType]
        self.batch_size = batch_size
        self.asked = arguments.read(told, batch_size)
        self.runner = RequestRunner(self.asked, self.asked.out)
        OPEN.append(self)
        specs = self.asked.specs
        self._pair = Pair.open(specs["big"], specs["small"], specs.get("judge"), options=self.asked.options, tell=LoadingLog())
        self._pair.check(self.asked.contender.method)

    def close(self) -> None:
        """Closes the engines and the run folder. lm-eval never does: the command does, or the process's exit."""
        if self not in OPEN:
            return
        OPEN.remove(self)
        self.runner.close()
        if hasattr(self, "_pair"):
            in_background(self._pair.aclose())

    # ---- what lm-eval asks for --------------------------------------------------------------------------------------

    def generate_until(self, requests: Sequence[Request]) -> list[str]:
        """The text after the thinking of each chain; empty where the thinking never ended.

        Raises `EngineError` and `MethodError`: an answer that failed is no answer. What was done until then is kept.
        """
        planned, warnings = plan_requests(requests, self.asked)
        for warning in warnings:
            log.warning(warning)
        if not self.runner.out:
            log.warning("nothing is kept: give --output_path DIR, or out=DIR in --model_args, and a run that is stopped can go on")
        origin = provenance(self._pair, **self.known, tasks=tasks_of(planned))
        with tqdm(total=len(planned), desc=f"chains of {self.asked.contender.label}", unit="chain") as bar:
            samples = in_background(self.runner.write(planned, self._pair, bar.update, origin))
        return [sample.answer for sample in samples]

    def apply_chat_template(self, chat_history: Iterable[Mapping[str, Any]], add_generation_prompt: bool = True) -> str:
        """The turns go to the chain as they are: each model has its own template."""
        return Conversation.of(chat_history)

    def chat_template(self, chat_template: bool | str = False) -> str:
        """What lm-eval writes into its results."""
        return "of each model's own family"

    @property
    def tokenizer_name(self) -> str:
        """Names what requests were built with; they hold turns, and no template of any model."""
        return NAME

    def loglikelihood(self, requests: Sequence[Request]) -> NoReturn:
        """Not supported."""
        task = requests[0].task_name if requests else "the task"
        raise UsageError(
            f"{task}: it asks how likely given texts are (loglikelihood), which a chain of thought cannot say; "
            "choose a task that has the answer written (output_type: generate_until)"
        )

    loglikelihood_rolling = loglikelihood

    def set_cache_hook(self, cache_hook: Any) -> None:
        """Refuses `--use_cache`: its key holds neither method nor model, and repeats would become one answer."""
        if cache_hook.dbdict is not None:
            raise UsageError("--use_cache would give one method the answers of another; leave it out, the run folder resumes (out=DIR)")

    # ---- what lm-eval writes down -----------------------------------------------------------------------------------

    def get_model_info(self) -> dict[str, Any]:
        """Goes into `config` of lm-eval's results: the method, and what all chains cost, by role."""
        return {NAME: {"library": version.VERSION, **self.known, **self.runner.totals()}}

    @property
    def known(self) -> dict[str, Any]:
        """What this door knows of where samples come from."""
        contender = self.asked.contender
        return {
            "door": "lm-eval",
            "methods": [contender.label],
            "method": contender.name,
            "params": contender.params,
            "settings": self.asked.settings(self.asked.problem),
            "seeds": [self.asked.problem.seed],
            "at_once": self.asked.chains,
        }


@register_model(SEED_NAME)
class SpeculativeVLLM(SpeculativeLM):
    """The same under the name and with the arguments of SplitReason's harness class."""

    def __init__(self, batch_size: Any = None, max_batch_size: Any = None, device: Any = None, **told: Any) -> None:
        """Raises `UsageError` and `UnknownNameError`; arguments that have no use here are named in lm-eval's log."""
        ours, unused = seed.translated(told)
        if unused:
            log.info("%s: of no use here: %s", SEED_NAME, ", ".join(unused))
        super().__init__(batch_size, max_batch_size, device, **ours)  # pyright: ignore[reportUnknownMemberType]
