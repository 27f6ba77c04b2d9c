"""`speculative serve`: the OpenAI-compatible service."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter
from pydantic import BaseModel, Field, create_model

from speculative.cli._flags import DEFAULT_ENGINES, EngineFlags
from speculative.engines.options import ROLES
from speculative.methods.auto import FILE
from speculative.methods.preset import folder_of, is_file, path_of, read_preset
from speculative.methods.registry import fill_from_files, names
from speculative.plan.profile import load_profile
from speculative.serve.server import pair_opener
from speculative.serve.server import serve as run
from speculative.settings import FLAG_GROUPS, NOT_FLAGS, Preset, Settings
from speculative.splitreason.service import SplitReasonService


def _flags() -> type[BaseModel]:
    """Makes the flags of the settings. `Settings` checks their values."""
    groups = {name: Group(title, sort_key=place) for place, (title, names) in enumerate(FLAG_GROUPS.items(), 3) for name in names}
    fields: dict[str, Any] = {}
    for name, setting in Settings.model_fields.items():
        if name in NOT_FLAGS:
            continue
        default = setting.get_default(call_default_factory=True, validated_data={})
        options: dict[str, Any] = {"group": groups[name]} if name in groups else {}
        if name == "prefill_every":
            options["name"] = ("--prefill-every", "--warm-every")
        if name in FLAG_GROUPS["Access"]:
            options |= {"negative": ()} | ({} if default else {"show_default": False} if default is not None else {})
        fields[name] = (Annotated[setting.annotation, Parameter(**options)], Field(default, description=setting.description))
    return create_model("ServiceFlags", **fields)


if TYPE_CHECKING:
    ServiceFlags = BaseModel
else:
    ServiceFlags = _flags()


def serve(*, settings: Annotated[ServiceFlags | None, Parameter(name="*")] = None, engines: EngineFlags = DEFAULT_ENGINES) -> None:
    """Serve the pair over HTTP with the OpenAI API, until Ctrl-C or SIGTERM.

    Settings can also come from the environment (SPECULATIVE_PORT), from .env, or from speculative.toml, which also holds the presets.
    """
    chosen = Settings(**(settings.model_dump(exclude_unset=True) if settings else {}))
    given = {role: list(getattr(engines, role)) for role in ROLES if getattr(engines, role) != getattr(DEFAULT_ENGINES, role)}
    chosen = _with_preset(chosen.model_copy(update=given))
    if own := os.environ.get(FILE):
        load_profile(own)  # else each request for `auto` would fail
    run(chosen, pair_opener(chosen, engines.options()), extensions=[SplitReasonService().mount])


def _with_preset(settings: Settings) -> Settings:
    """Adds the preset of `--method @FILE` to the settings.

    It has the name of its file. Raises `UsageError`.
    """
    if not is_file(settings.method):
        return settings
    found, stem = read_preset(settings.method), path_of(settings.method).stem
    name = f"{stem}-preset" if stem in names() else stem
    params = fill_from_files(found.method, found.params, folder_of(settings.method))
    preset = Preset.model_validate({"method": found.method, "params": params, "with": found.wrappers})
    return settings.model_copy(update={"method": name, "presets": {**settings.presets, name: preset}})
