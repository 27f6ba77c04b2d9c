"""One schema for all settings. Sources, the first one that has a value wins: flags, environment (`SPECULATIVE_PORT`), `.env`,
`speculative.toml`, the default.

Other programs' secrets (`OPENAI_API_KEY`, `HF_TOKEN`) are no settings: `speculative.secret` reads one where it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, get_args

from cyclopts import Group, Parameter
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from speculative._plugins import is_path
from speculative.engines.options import BUNDLED, EngineOptions
from speculative.errors import UsageError
from speculative.files import read_text
from speculative.methods.base import Method
from speculative.methods.registry import build
from speculative.pair import Pair
from speculative.problem import Degrade, Role

FILE = "speculative.toml"
PREFIX = "SPECULATIVE_"
MIB = 1 << 20
ROLES: tuple[Role, ...] = get_args(Role)

ACCESS = Parameter(group=Group("Access", sort_key=3), negative=())
NOTHING = Parameter(show_default=False)
"""Nothing, unless it is given."""
LIMITS = Parameter(group=Group("Limits", sort_key=4))
UNFLAGGED = Parameter(parse=False)


def _split(value: Any) -> Any:
    """In the environment, where there are no lists, commas part their members."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _no_path(value: str | None) -> str | None:
    """Refuses a dialect's file: the settings may be written by somebody else, and a path is code."""
    if value and is_path(value):
        raise ValueError(f"a dialect in the settings must be a name, got {value!r}; give the file with --big-dialect, --small-dialect")
    return value


Many = Annotated[list[str], NoDecode, BeforeValidator(_split)]


class Server(BaseModel):
    """`[servers.big]` in the file: what `EngineOptions` has, but for the key, which belongs into the environment."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = None
    tokenizer: str | None = None
    dialect: Annotated[str | None, AfterValidator(_no_path)] = None
    context: int | None = Field(None, ge=1)
    gpus: str | None = None
    port: int = Field(0, ge=0, le=65535)
    args: str = ""
    vllm: str | None = None


class Preset(BaseModel):
    """A named method with parameters: `[presets.fast]` in the file, the model `speculative/fast` in the service."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    method: str = "random_switch"
    params: dict[str, Any] = Field(default_factory=dict[str, Any])
    wrappers: list[str] = Field(default_factory=list[str], alias="with")

    def build(self) -> Method:
        """The method itself; a path is none, since the file may be somebody else's. Raises `UnknownNameError`, `UsageError`."""
        return build(self.method, self.params, self.wrappers, paths=False)


class Settings(BaseSettings):
    """What `speculative serve` can be told. Raises `UsageError` in one line that names the setting and the value."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", toml_file=FILE, extra="ignore", env_ignore_empty=True, populate_by_name=True
    )

    host: str = Field("127.0.0.1", description="address to listen on; any but this machine's own needs a key or --no-auth")
    port: int = Field(8080, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    method: str = Field("random_switch", description="the method where a request names none: a registered name or a preset")
    drain: float = Field(30.0, ge=0, description="seconds that running chains have to finish when the service is told to stop")

    big: Annotated[Many, UNFLAGGED] = Field([BUNDLED["big"]], description="engine of the big model; several addresses are replicas")
    small: Annotated[Many, UNFLAGGED] = Field([BUNDLED["small"]], description="engine of the small model")
    judge: Annotated[Many, UNFLAGGED] = Field([], description="engine of a judge, for methods that ask for one")
    servers: Annotated[dict[Role, Server], UNFLAGGED] = Field(
        default_factory=dict[Role, Server], description="what the engines' servers need to be told"
    )

    key_file: Annotated[Path | None, ACCESS] = Field(
        None, description="file of bearer keys, one a line (or SPECULATIVE_API_KEY in the environment)"
    )
    no_auth: Annotated[bool, ACCESS, NOTHING] = Field(False, description="serve anybody who can reach the port")
    allowed_host: Annotated[Many, ACCESS, NOTHING] = Field(
        default_factory=list[str],
        description="name by which the service may be called, besides this machine's own where no key is needed; may be repeated, * is any",
    )
    cors_origin: Annotated[Many, ACCESS, NOTHING] = Field(
        default_factory=list[str], description="origin whose pages may call the service; may be repeated"
    )
    log_level: Annotated[str, ACCESS] = Field("info", pattern="^(debug|info|warning|error)$", description="debug, info, warning or error")
    log_text: Annotated[bool, ACCESS, NOTHING] = Field(False, description="write prompts and replies to the log")

    degrade: Annotated[Degrade, LIMITS] = Field(
        "fail", description="big or small: who goes on alone when the other one's server dies, where a request does not say"
    )
    warm_every: Annotated[int, LIMITS] = Field(
        0, ge=0, description="tokens after which the idle model is given what it has not seen (0: never), where a request does not say"
    )
    max_chains: Annotated[int, LIMITS] = Field(64, ge=1, description="chains in flight, ballots counted; more wait, then get 429")
    max_waiting: Annotated[int, LIMITS] = Field(256, ge=0, description="requests that may wait for a chain")
    queue_seconds: Annotated[float, LIMITS] = Field(30.0, ge=0, description="seconds that a request waits at most")
    request_seconds: Annotated[float, LIMITS] = Field(60.0, gt=0, description="seconds that a client has to send its request")
    max_body: Annotated[int, LIMITS] = Field(4 * MIB, ge=1024, description="bytes of a request's body")
    max_messages: Annotated[int, LIMITS] = Field(256, ge=1, description="messages of a request")
    max_n: Annotated[int, LIMITS] = Field(16, ge=1, description="chains of one request (n, times the prompts)")
    default_tokens: Annotated[int, LIMITS] = Field(8192, ge=1, description="max_tokens where a request gives none")
    max_tokens: Annotated[int, LIMITS] = Field(65536, ge=1, description="the largest max_tokens that a request may give")
    max_produced: Annotated[int, LIMITS] = Field(1 << 20, ge=1, description="tokens that one chain may produce, discarded ones included")
    max_seconds: Annotated[float, LIMITS] = Field(3600.0, gt=0, description="seconds that one chain may take")
    max_param: Annotated[int, LIMITS] = Field(8192, ge=1, description="the largest whole number that a request may give a method")
    max_drafts: Annotated[int, LIMITS] = Field(512, ge=1, description="drafts that one request's chains may ask an engine for at once")

    api_key: Annotated[SecretStr | None, UNFLAGGED] = Field(None, description="bearer keys, separated by commas")
    presets: Annotated[dict[str, Preset], UNFLAGGED] = Field(default_factory=dict[str, Preset], description="named methods with parameters")

    def __init__(self, **given: Any) -> None:
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise UsageError("; ".join(f"setting {_place(e['loc'])}: {_shown(e)}" for e in error.errors())) from None
        except (SettingsError, OSError, ValueError) as error:
            raise UsageError(f"the settings cannot be read: {error}") from None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = TomlConfigSettingsSource(settings_cls)
        unknown = sorted(set(file.toml_data) - set(cls.model_fields))
        if unknown:
            raise UsageError(f"{FILE}: unknown setting {', '.join(unknown)} (known: {', '.join(sorted(cls.model_fields))})")
        return init_settings, env_settings, dotenv_settings, file

    def pair(self, flags: Mapping[str, EngineOptions] | None = None, tell: Callable[[str], None] | None = None) -> Pair:
        """Opens the engines, `flags` before the file. It waits for servers. Raises what `Pair.open` raises."""
        options: dict[str, EngineOptions] = {}
        for role in ROLES:
            filed = EngineOptions(**(self.servers[role].model_dump() if role in self.servers else {}))
            options[role] = (flags or {}).get(role, EngineOptions()).over(filed)
        big, small, judge = (specs[0] if len(specs) == 1 else specs for specs in (self.big, self.small, self.judge))
        return Pair.open(big, small, judge or None, options=options, tell=tell)

    def keys(self) -> tuple[str, ...]:
        """The bearer keys, from the environment and the file. Raises `UsageError` where one of the two holds none, or no good one."""
        found: tuple[str, ...] = ()
        if self.api_key:
            found += _keys("SPECULATIVE_API_KEY", self.api_key.get_secret_value().split(","), "key", "commas part them")
        if self.key_file:
            lines = read_text(self.key_file, f"key file {self.key_file}").splitlines()
            found += _keys(f"key file {self.key_file}", lines, "line", "put one a line")
        return found


def _keys(where: str, given: list[str], unit: str, how: str) -> tuple[str, ...]:
    """Those that are keys and no comment. Without any the service would be open to all, which nobody meant who gave some."""
    found = {number: key for number, text in enumerate(given, 1) if (key := text.strip()) and not key.startswith("#")}
    if not found:
        raise UsageError(f"{where} holds no key; {how}")
    if odd := next((number for number, key in found.items() if key.split() != [key]), None):
        raise UsageError(f"{where}, {unit} {odd}: there is white space in a key, which no request could send; {how}")
    return tuple(found.values())


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location))


def _shown(error: Any) -> str:
    """What is wrong, with the value unless it is a secret."""
    value = "" if "key" in _place(error["loc"]) else f"{str(error['input'])[:80]!r} is not valid: "
    reason = str(error["msg"])
    return f"{value}{reason[:1].lower()}{reason[1:]}"
