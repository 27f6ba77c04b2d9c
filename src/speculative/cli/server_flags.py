"""The flags of engines that run behind servers, or that servers are started for.

The annotations here are no strings: the parser would look up their names in the module of the class that inherits them.
"""

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Group, Parameter

from speculative.pair import EngineOptions

SERVERS = Group("Servers", sort_key=6)

MODEL = Parameter(help="which model, where a server has several", group=SERVERS)
BIG_KEY = Parameter(help="the server's key; better in the environment (SPECULATIVE_BIG_KEY)", group=SERVERS)
SMALL_KEY = Parameter(help="the server's key; better in the environment (SPECULATIVE_SMALL_KEY)", group=SERVERS)
TOKENIZER = Parameter(help="folder, tokenizer.json or hub name, where the server does not say a usable one", group=SERVERS)
DIALECT = Parameter(help="the model's family, where it cannot be told from its tokens", group=SERVERS)
CONTEXT = Parameter(help="positions of the model, where the server does not say how long its context is", group=SERVERS)
GPUS = Parameter(help="numbers of the GPUs for the server that is started, as 0 or 0,1", group=SERVERS)
PORT = Parameter(help="its port; a server that answers there, or is being loaded, is used [default: a free one]", group=SERVERS)
ARGS = Parameter(
    help="more flags for the server that is started, in one string", group=SERVERS, allow_leading_hyphen=True, show_default=False
)

HIDDEN = Parameter(show=False)


@dataclass(frozen=True)
class ServerFlags:
    """What servers need to be told, role by role."""

    big_model: Annotated[str | None, MODEL] = None
    big_key: Annotated[str | None, BIG_KEY] = None
    big_tokenizer: Annotated[str | None, TOKENIZER] = None
    big_dialect: Annotated[str | None, DIALECT] = None
    big_context: Annotated[int | None, CONTEXT] = None
    big_gpus: Annotated[str | None, GPUS] = None
    big_port: Annotated[int | None, PORT] = None
    big_args: Annotated[str, ARGS] = ""
    small_model: Annotated[str | None, MODEL] = None
    small_key: Annotated[str | None, SMALL_KEY] = None
    small_tokenizer: Annotated[str | None, TOKENIZER] = None
    small_dialect: Annotated[str | None, DIALECT] = None
    small_context: Annotated[int | None, CONTEXT] = None
    small_gpus: Annotated[str | None, GPUS] = None
    small_port: Annotated[int | None, PORT] = None
    small_args: Annotated[str, ARGS] = ""
    judge_model: Annotated[str | None, HIDDEN] = None
    judge_key: Annotated[str | None, HIDDEN] = None
    judge_tokenizer: Annotated[str | None, HIDDEN] = None
    judge_dialect: Annotated[str | None, HIDDEN] = None
    judge_context: Annotated[int | None, HIDDEN] = None
    judge_gpus: Annotated[str | None, HIDDEN] = None
    judge_port: Annotated[int | None, HIDDEN] = None
    judge_args: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)] = ""
    terminate_on_exit: Annotated[
        bool,
        Parameter(
            help="end the servers that were started here with the command; if not, the next one uses them and `speculative down` ends them",
            group=SERVERS,
        ),
    ] = True
    vllm: Annotated[str | None, Parameter(help="the Python that has vLLM, to start servers with", group=SERVERS)] = None

    def options(self) -> dict[str, EngineOptions]:
        """The same, by role."""
        return {role: self._of(role) for role in ("big", "small", "judge")}

    def _of(self, role: str) -> EngineOptions:
        names = ("model", "key", "tokenizer", "dialect", "context", "gpus", "args")
        given = {name: getattr(self, f"{role}_{name}") for name in names}
        return EngineOptions(**given, port=getattr(self, f"{role}_port") or 0, vllm=self.vllm, keep=not self.terminate_on_exit)
