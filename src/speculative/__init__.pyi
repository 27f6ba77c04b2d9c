"""The public names, for type checkers."""

from speculative.chain.chain import Chain
from speculative.chain.drafts import Draft
from speculative.chain.reply import Reply
from speculative.chain.steps import STEP
from speculative.engines.base import Engine
from speculative.errors import EngineError, MethodError, SpeculativeError, UsageError
from speculative.methods.base import Method
from speculative.methods.wrapper import Wrapper
from speculative.pair import Pair
from speculative.problem import Message, Problem, Role, Sampling
from speculative.prompts import Question
from speculative.result import Result
from speculative.runner import asolve, solve, stream
from speculative.trace.events import Event
from speculative.trace.trace import Trace
from speculative.trace.usage import Usage

__version__: str

__all__ = [
    "STEP",
    "Chain",
    "Draft",
    "Engine",
    "EngineError",
    "Event",
    "Message",
    "Method",
    "MethodError",
    "Pair",
    "Problem",
    "Question",
    "Reply",
    "Result",
    "Role",
    "Sampling",
    "SpeculativeError",
    "Trace",
    "Usage",
    "UsageError",
    "Wrapper",
    "__version__",
    "asolve",
    "solve",
    "stream",
]

def __dir__() -> list[str]: ...
