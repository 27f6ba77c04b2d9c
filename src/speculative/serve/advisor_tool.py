"""Reads the advisor tool of clients: the method `advisor` answers it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import Field, ValidationError

from speculative.errors import shown_value
from speculative.methods.advisor import FIELDS
from speculative.serve.errors import ApiError, unsupported_value, validation_error
from speculative.serve.schemas import INT64, Name, RequestBase, Text, ToolRequest
from speculative.serve.unsupported import ignored_fields

R = TypeVar("R", bound=ToolRequest)

METHOD = "advisor"
TYPES = ("advisor_20260301", "openrouter:advisor")
"""The types by which clients name the tool: Anthropic's and LiteLLM's, and OpenRouter's."""
HINTS = frozenset(("caching", "cache_control", "defer_loading", "name", "stream", "strict"))
"""Options that change no reply: the tool has one caller, and the models' servers keep their caches in any case."""
NEUTRAL: dict[str, tuple[str, list[Any]]] = {
    "forward_transcript": ("the advisor always reads the whole chain", [True]),
    "tools": ("the advisor calls no tools", [[]]),
    "max_tool_calls": ("the advisor calls no tools", []),
    "allowed_callers": ("only the small model calls the advisor", [["direct"]]),
    "temperature": ("the advisor samples as the request does", []),
    "reasoning": ("the advisor replies without thinking", []),
}
"""Options that cannot be honoured: the reason, and the values that ask for what happens anyway."""
FORCED = ("required", "any")
"""Values of `tool_choice` by which the tool must be called."""

Tokens = Annotated[int, Field(ge=1, lt=INT64)]


class AdvisorTool(RequestBase):
    """The advisor tool of a request, its options at the top or under `parameters`."""

    type: Literal["advisor_20260301", "openrouter:advisor"]
    model: Name | None = None
    max_uses: Tokens | None = None
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    instructions: Text | None = None

    @property
    def params(self) -> dict[str, Any]:
        """The parameters of the method that the options set."""
        found = {"max_calls": self.max_uses, "advice_tokens": self.max_tokens or self.max_completion_tokens}
        fields = f"{FIELDS}; {self.instructions.strip()}" if self.instructions and self.instructions.strip() else None
        return {name: value for name, value in (*found.items(), ("fields", fields)) if value is not None}


def take_advisor(request: R, preset: Mapping[str, Any], big_names: Collection[str], ignored: list[str], *, most: int, drop: bool) -> R:
    """Turns the advisor tool of a request into parameters of the method `advisor`.

    A request without it is returned as it is.

    Args:
        preset: parameters that the request's model sets itself.
        big_names: names of the big model, which is the advisor; empty while they are unknown.
        ignored: receives the options that are ignored.
        most: the largest number that the service allows as a parameter.
        drop: ignore also options that cannot be honoured, and other tools (`drop_params`).

    Raises:
        ApiError: (400) names the tool or the option.
    """
    places = _places(request.tools)
    if not places or request.others.get("tool_choice") == "none":
        return request
    if len(places) > 1:
        raise unsupported_value("tools", f"one advisor can be asked, got {len(places)}; leave out all but one")
    if len(request.tools) > 1:
        if not drop:
            raise unsupported_value("tools", "these models call no tool but the advisor; leave the others out")
        ignored.append("tools")
    place, fields = f"tools[{places[0]}]", request.tools[places[0]]
    tool = _read(place, fields, ignored, drop=drop)
    if tool.model is not None and big_names and tool.model not in big_names:
        if not drop:
            names = " or ".join(map(repr, big_names))
            reason = f"the advisor is the service's big model, {names}, got {tool.model[:80]!r}; name that one, or leave it out"
            raise unsupported_value(f"{place}.model", reason)
        ignored.append("tools.model")
    for name in ("max_uses", "max_tokens", "max_completion_tokens"):
        if (getattr(tool, name) or 0) > most:
            reason = f"must be at most {most} in this service (--max-param), got {getattr(tool, name)}"
            raise ApiError(400, f"{place}.{name} {reason}", param=f"{place}.{name}")
    params: dict[str, Any] = {} if "trigger" in preset else {"trigger": "either"}
    params |= tool.params
    return request.model_copy(update=_with_limits(request, params, fields, most))


def _with_limits(request: ToolRequest, params: dict[str, Any], tool: dict[str, Any], most: int) -> dict[str, Any]:
    """Returns the changes of a request.

    The parameters hold what its other fields say about calls of the tool.
    """
    choice, calls = request.others.get("tool_choice"), request.others.get("max_tool_calls")
    update: dict[str, Any] = {"tools": None}
    if choice in FORCED or (isinstance(choice, dict) and _names_tool(cast("dict[str, Any]", choice), tool)):
        params, update["tool_choice"] = {**params, "ask_first": True}, None
    if isinstance(calls, int) and not isinstance(calls, bool) and calls >= 0:
        params, update["max_tool_calls"] = {**params, "max_calls": min(calls, params.get("max_calls", calls), most)}, None
    return {**update, "params": {**params, **(request.params or {})}}


def is_advised(request: ToolRequest) -> bool:
    """Returns whether the request has an advisor tool that may be called."""
    return bool(_places(request.tools)) and request.others.get("tool_choice") != "none"


def _places(tools: Any) -> list[int]:
    """Finds the advisors in a list of tools."""
    if not isinstance(tools, list):
        return []
    listed = cast("list[Any]", tools)
    return [place for place, tool in enumerate(listed) if isinstance(tool, dict) and cast("dict[str, Any]", tool).get("type") in TYPES]


def _read(place: str, fields: dict[str, Any], ignored: list[str], *, drop: bool) -> AdvisorTool:
    """Reads the options of a tool. Raises `ApiError` for one that cannot be honoured."""
    inside: Any = fields.get("parameters") or {}
    if not isinstance(inside, dict):
        raise ApiError(400, f"{place}.parameters must be an object, got {shown_value(inside)}", param=f"{place}.parameters")
    flat = {**cast("dict[str, Any]", inside), **{name: value for name, value in fields.items() if name != "parameters"}}
    try:
        tool = AdvisorTool.model_validate(flat)
    except ValidationError as error:
        raise validation_error(error.errors(include_url=False), place) from None
    if tool.max_tokens and tool.max_completion_tokens:
        raise unsupported_value(f"{place}.max_tokens", "max_tokens and max_completion_tokens are the same limit; give one of them")
    known = frozenset(("name",))
    found = ignored_fields(tool.others, f"{place}.", hints=HINTS, known=known, neutral=NEUTRAL, drop=drop)
    ignored += [f"tools.{name.removeprefix(f'{place}.')}" for name in found]
    return tool


def _names_tool(choice: dict[str, Any], tool: dict[str, Any]) -> bool:
    """Returns whether a `tool_choice` names the tool, in the form of one of the APIs."""
    function = choice.get("function")
    named = cast("dict[str, Any]", function).get("name") if isinstance(function, dict) else choice.get("name")
    return choice.get("type") in FORCED or choice.get("type") == tool["type"] or named in (tool.get("name"), METHOD)
