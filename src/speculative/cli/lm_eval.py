"""`speculative lm-eval`: the lm-evaluation-harness as it is, with our models and tasks beside its own."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from traceback import extract_tb
from typing import Any

from speculative.cli._signals import raise_on_signal
from speculative.errors import MissingExtraError, UsageError

READS_ARGUMENTS = ("lm_eval/config/*.py", "lm_eval/_cli/*.py", "lm_eval/api/registry.py", "lm_eval/tasks/manager.py")

KEPT = "chains"
"""Where the run folder lies in `--output_path`."""


def lm_eval(argv: Sequence[str]) -> int:
    """Run the lm-evaluation-harness with chains of the pair: all arguments are its own.

    Its command line is parsed by itself; our task files are added to its `include_path`, and for our models a run folder beside
    its `--output_path`, so that a run that was stopped goes on. Raises `UsageError`, and what chains raise.
    """
    if find_spec("lm_eval") is None:
        raise MissingExtraError("speculative lm-eval", "the package lm-eval", "lm-eval")
    harness: Any = import_module("lm_eval.__main__")
    harness.setup_logging()
    parser, whole = harness.HarnessCLI(), sys.argv
    sys.argv = ["lm-eval", *argv]
    try:
        told: Namespace = parser.parse_args()
    except (ValueError, KeyError) as error:
        raise _mistake(error) from error.__cause__
    finally:
        sys.argv = whole  # what a run folder keeps as its command
    with raise_on_signal():
        from speculative.evaluate.lm_eval import model

        try:
            parser.execute(_ours(told, (model.NAME, model.SPLITREASON_NAME)))
        except (ValueError, KeyError) as error:
            raise _mistake(error) from error.__cause__
        finally:
            model.close_all()
    return 0


def _ours(told: Namespace, names: Sequence[str]) -> Namespace:
    """The arguments with our tasks, and for our models with a run folder and a name that stays for lm-eval's own files."""
    if not hasattr(told, "include_path"):
        return told
    filed = _filed(getattr(told, "config", None))
    theirs: Any = told.include_path or filed.get("include_path") or []
    told.include_path = [*([theirs] if isinstance(theirs, str) else theirs), str(_tasks())]
    if (getattr(told, "model", None) or filed.get("model")) not in names:
        return told
    cached: dict[str, Any] = told.cache_requests or {}
    if cached.get("cache_requests"):
        raise UsageError("--cache_requests keeps prompts under the task's name, whatever data= says; leave it out")
    given = _arguments(told.model_args or filed.get("model_args") or {})
    out = told.output_path or filed.get("output_path")
    if out and "out" not in given:
        path = Path(out)
        given["out"] = str(path.with_name(f"{path.stem}-{KEPT}") if path.suffix == ".json" else path / KEPT)
    given.setdefault("pretrained", given.get("method", told.model or filed.get("model")))
    told.model_args = given
    return told


def _tasks() -> Path:
    from speculative.evaluate import lm_eval as package

    return Path(str(package.__file__)).parent / "task_files"


def _filed(config: str | None) -> dict[str, Any]:
    """What the file of `--config` says; lm-eval tells what is wrong with it."""
    return import_module("lm_eval.config.evaluate_config").EvaluatorConfig.load_yaml_config(config) if config else {}


def _arguments(told: Any) -> dict[str, Any]:
    return import_module("lm_eval.utils").simple_parse_args_string(told) if isinstance(told, str) else dict(told)


def _mistake(error: Exception) -> Exception:
    """Its user's mistakes are ValueError and KeyError where it reads its arguments; anything else is a bug, to be seen whole."""
    place = Path(extract_tb(error.__traceback__)[-1].filename)
    if not any(place.match(pattern) for pattern in READS_ARGUMENTS):
        return error
    return UsageError(f"lm-eval: {' '.join(str(error.args[0]).split()) if error.args else error}")
