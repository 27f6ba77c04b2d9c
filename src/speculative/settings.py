"""The settings of the service.

The first source that has a value wins: flags, environment (`SPECULATIVE_PORT`), `.env`, `speculative.toml`, the default.

Secrets of other programs (`OPENAI_API_KEY`, `HF_TOKEN`) are not settings: `speculative.redaction` reads one where it is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from speculative._plugins import is_path, split_spec
from speculative.engines.options import BUNDLED, ROLES, EngineOptions, is_tower, tower_parts
from speculative.errors import UsageError, describe_mistake, requirement
from speculative.files import read_text
from speculative.methods.base import Method
from speculative.methods.preset import MethodPreset
from speculative.methods.registry import DEFAULT_METHOD, build
from speculative.pair import Pair
from speculative.problem import Degrade, Role

FILE = "speculative.toml"
PREFIX = "SPECULATIVE_"
MIB = 1 << 20

FLAG_GROUPS = {
    "Access": ("key_file", "no_auth", "allowed_host", "cors_origin", "drop_params", "log_level", "log_text"),
    "Limits": (
        *("degrade", "prefill_every", "max_chains", "max_waiting", "queue_seconds", "request_seconds", "max_body", "max_prompt"),
        *("max_messages", "max_n", "default_tokens", "max_tokens", "max_produced", "max_seconds", "max_param", "max_drafts"),
    ),
}
"""The groups of settings in the help of the command line; the others come first."""
NOT_FLAGS = frozenset(("big", "small", "judge", "servers", "api_key", "presets"))
"""Settings that have flags of another form, or none."""


def _split(value: Any) -> Any:
    """Splits a list at commas outside brackets, since the environment has no lists."""
    return split_spec(value, ",") if isinstance(value, str) else value


def _check_engines(specs: list[str]) -> list[str]:
    """Refuses a tower whose method is a path.

    A path is code, and another user may have written the settings.
    """
    for spec in specs:
        for name in tower_parts(spec).method.split("*") if is_tower(spec) else ():
            if is_path(name.partition("(")[0]):
                raise ValueError(f"the method of a tower in the settings must be a name, got {name!r}; give the tower with a flag")
    return specs


def _check_filed(options: EngineOptions) -> EngineOptions:
    """Refuses options that a file may not hold: another user may have written it."""
    if options.key:
        raise ValueError("a key must not stand in the settings; set SPECULATIVE_BIG_KEY (or _SMALL_, _JUDGE_) in the environment")
    if options.keep:
        raise ValueError("keep must be a flag, since the settings hold for every start; use `speculative up`")
    if options.dialect and is_path(options.dialect):
        raise ValueError(
            f"a dialect in the settings must be a name, got {options.dialect!r}; give the file with --big-dialect (or another role's)"
        )
    return options


Many = Annotated[list[str], NoDecode, BeforeValidator(_split)]
Engines = Annotated[Many, AfterValidator(_check_engines)]
"""The engine of a role: one spec, or the addresses of its replicas."""


FiledOptions = Annotated[EngineOptions, AfterValidator(_check_filed)]
"""Options of an engine: `[servers.big]` in the file."""


class Preset(MethodPreset):
    """Names a method with parameters.

    `[presets.fast]` in the file is the model `speculative/fast` in the service.
    """

    method: str = DEFAULT_METHOD
    thinking_budget: int | None = Field(default=None, ge=1)
    reasoning_effort: Literal["minimal", "low", "medium", "high", "xhigh"] | None = None

    def build(self) -> Method:
        """Builds the method. Paths are refused, since another user may own the file.

        Raises:
            UnknownNameError: there is no such method or parameter.
            UsageError: a parameter is out of range.
        """
        return build(self.method, self.params, self.wrappers, paths=False)


class Settings(BaseSettings):
    """Settings of `speculative serve`. A `UsageError` names setting and value."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_file=".env", toml_file=FILE, extra="ignore", env_ignore_empty=True, populate_by_name=True
    )

    host: str = Field("127.0.0.1", description="address to listen on; any but this machine's own needs a key or --no-auth")
    port: int = Field(8080, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    method: str = Field(DEFAULT_METHOD, description="default for requests: a registered method, a preset, or @FILE of one")
    drain: float = Field(30.0, ge=0, description="seconds that running chains have to finish when the service stops")

    big: Engines = Field([BUNDLED["big"]], description="engine of the big model; several addresses are replicas")
    small: Engines = Field([BUNDLED["small"]], description="engine of the small model")
    judge: Engines = Field([], description="engine of a judge, for methods that ask for one")
    servers: dict[Role, FiledOptions] = Field(default_factory=dict[Role, EngineOptions], description="options of the engines")

    prices: Path | None = Field(None, description="TOML file of prices that the page shows, as `speculative eval --prices` takes")

    key_file: Path | None = Field(None, description="file of bearer keys, one a line (or SPECULATIVE_API_KEY in the environment)")
    no_auth: bool = Field(False, description="serve every client that can reach the port")
    allowed_host: Many = Field(
        default_factory=list[str],
        description="allowed Host header, besides this machine's names; may be repeated, * allows any",
    )
    cors_origin: Many = Field(default_factory=list[str], description="origin whose pages may call the service; may be repeated")
    drop_params: bool = Field(
        False, description="ignore fields that cannot be honoured instead of refusing the request; the reply lists them"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="how much is logged")
    log_text: bool = Field(False, description="write prompts and replies to the log")

    degrade: Degrade = Field("fail", description="default for requests: big or small goes on alone when the other one's server dies")
    prefill_every: int = Field(0, ge=0, description="default for requests: prefill the idle model every so many tokens (0 disables)")
    max_chains: int = Field(64, ge=1, description="chains at once, ballots counted; more wait, then get 429")
    max_waiting: int = Field(256, ge=0, description="requests that may wait for a chain")
    queue_seconds: float = Field(30.0, ge=0, description="seconds that a request waits at most")
    request_seconds: float = Field(60.0, gt=0, description="seconds that a client has to send a body")
    max_body: int = Field(4 * MIB, ge=1024, description="bytes of a request's body")
    max_prompt: int = Field(MIB, ge=1024, description="bytes of a request's messages together")
    max_messages: int = Field(256, ge=1, description="messages of a request")
    max_n: int = Field(16, ge=1, description="chains of one request (n, times the prompts)")
    default_tokens: int = Field(8192, ge=1, description="max_tokens where a request gives none")
    max_tokens: int = Field(65536, ge=1, description="the largest max_tokens that a request may give")
    max_produced: int = Field(1 << 20, ge=1, description="tokens that one chain may produce, discarded ones included")
    max_seconds: float = Field(3600.0, gt=0, description="seconds that one chain may take")
    max_param: int = Field(8192, ge=1, description="the largest integer that a request may give a method")
    max_drafts: int = Field(512, ge=1, description="drafts that one request's chains may ask an engine for at once")

    api_key: SecretStr | None = Field(None, description="bearer keys, separated by commas")
    presets: dict[str, Preset] = Field(default_factory=dict[str, Preset], description="named methods with parameters")

    def __init__(self, **given: Any) -> None:
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise UsageError("; ".join(map(_describe, error.errors()))) from None
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
        """Opens the engines and waits for their servers. `flags` win over the file.

        Raises the errors of `Pair.open`.
        """
        options: dict[str, EngineOptions] = {}
        for role in ROLES:
            options[role] = (flags or {}).get(role, EngineOptions()).over(self.servers.get(role, EngineOptions()))
        big, small, judge = (specs[0] if len(specs) == 1 else specs for specs in (self.big, self.small, self.judge))
        return Pair.open(big, small, judge or None, options=options, tell=tell)

    def keys(self) -> tuple[str, ...]:
        """Reads the bearer keys from the environment and the key file.

        Raises:
            UsageError: a source has no usable key.
        """
        found: tuple[str, ...] = ()
        if self.api_key:
            found += _keys("SPECULATIVE_API_KEY", self.api_key.get_secret_value().split(","), "key", "separate keys by commas")
        if self.key_file:
            lines = read_text(self.key_file, f"key file {self.key_file}").splitlines()
            found += _keys(f"key file {self.key_file}", lines, "line", "put one a line")
        return found


def _keys(where: str, given: list[str], unit: str, how: str) -> tuple[str, ...]:
    """Parses keys and skips comments. Raises `UsageError` if no key remains."""
    found = {number: key for number, text in enumerate(given, 1) if (key := text.strip()) and not key.startswith("#")}
    if not found:
        raise UsageError(f"{where} must hold a key; {how}")
    if odd := next((number for number, key in found.items() if key.split() != [key]), None):
        raise UsageError(f"{where}, {unit} {odd}: a key cannot hold white space; {how}")
    return tuple(found.values())


def _place(location: tuple[int | str, ...]) -> str:
    return ".".join(map(str, location))


def _describe(error: Any) -> str:
    """Describes a mistake, with the value unless it is a secret."""
    name = f"setting {_place(error['loc'])}"
    if "key" in name:
        return f"{name}: {requirement([error]).partition(', got ')[0]}"
    return describe_mistake(name, [error])
