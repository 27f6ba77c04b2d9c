"""`speculative lm-eval`: runs the lm-evaluation-harness with our models."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from traceback import extract_tb
from typing import Any

from speculative.cli._output import write_line
from speculative.cli._signals import raise_on_signal
from speculative.errors import MissingExtraError, UsageError

READS_ARGUMENTS = ("lm_eval/config/*.py", "lm_eval/_cli/*.py", "lm_eval/api/registry.py", "lm_eval/tasks/manager.py")

HELP = """Usage: speculative lm-eval run --model speculative --tasks TASK,… [OPTIONS]

Run the lm-evaluation-harness with chains of the pair. The harness reads all that follows, also --help.

  --model        speculative, or vllm_speculative with the arguments of SplitReason
  --model_args   the method, its parameters and the engines: method=random_switch,big_share=0.3
  --tasks        tasks of the harness, or of this library
  --limit        number of problems of each task
  --output_path  folder of the results; the same command continues an interrupted run

docs/lm-eval.md explains them. Only the harness shows all of its flags, and here it is missing:
{missing}"""
"""The help where the harness is not installed."""

RUN_FOLDER = "chains"
"""The name of the run folder in `--output_path`."""


def lm_eval(argv: Sequence[str]) -> int:
    """Run the lm-evaluation-harness with chains of the pair.

    The harness parses its own command line. Our task files are added to its `include_path`. Our models get a run folder in
    `--output_path`, so that an interrupted run can continue. Raises `UsageError`, and the errors of chains.
    """
    if find_spec("lm_eval") is None:
        missing = MissingExtraError("speculative lm-eval", "the package lm-eval", "lm-eval")
        if {"--help", "-h"} & set(argv):
            write_line(HELP.format(missing=missing))
            return 0
        raise missing
    harness: Any = import_module("lm_eval.__main__")
    harness.setup_logging()
    parser, whole = harness.HarnessCLI(), sys.argv
    sys.argv = ["lm-eval", *argv]
    try:
        arguments: Namespace = parser.parse_args()
    except (ValueError, KeyError) as error:
        raise _as_usage_error(error) from error.__cause__
    finally:
        sys.argv = whole  # a run folder keeps it as its command
    with raise_on_signal():
        from speculative.evaluate.lm_eval import model

        try:
            parser.execute(_with_ours(arguments, (model.NAME, model.SPLITREASON_NAME)))
        except (ValueError, KeyError) as error:
            raise _as_usage_error(error) from error.__cause__
        finally:
            model.close_all()
    return 0


def _with_ours(arguments: Namespace, names: Sequence[str]) -> Namespace:
    """Adds our tasks and, for our models, a run folder and a fixed name."""
    if not hasattr(arguments, "include_path"):
        return arguments
    config = _config(getattr(arguments, "config", None))
    theirs: Any = arguments.include_path or config.get("include_path") or []
    arguments.include_path = [*([theirs] if isinstance(theirs, str) else theirs), str(_tasks())]
    if (getattr(arguments, "model", None) or config.get("model")) not in names:
        return arguments
    cached: dict[str, Any] = arguments.cache_requests or {}
    if cached.get("cache_requests"):
        raise UsageError("--cache_requests cannot be used, since it keeps prompts under the task's name for every data=; leave it out")
    given = _model_args(arguments.model_args or config.get("model_args") or {})
    out = arguments.output_path or config.get("output_path")
    if out and "out" not in given:
        path = Path(out)
        given["out"] = str(path.with_name(f"{path.stem}-{RUN_FOLDER}") if path.suffix == ".json" else path / RUN_FOLDER)
    given.setdefault("pretrained", given.get("method", arguments.model or config.get("model")))
    arguments.model_args = given
    return arguments


def _tasks() -> Path:
    from speculative.evaluate import lm_eval as package

    return Path(str(package.__file__)).parent / "task_files"


def _config(config: str | None) -> dict[str, Any]:
    """Returns the settings of the file of `--config`. lm-eval reports errors in it."""
    return import_module("lm_eval.config.evaluate_config").EvaluatorConfig.load_yaml_config(config) if config else {}


def _model_args(given: Any) -> dict[str, Any]:
    return import_module("lm_eval.utils").simple_parse_args_string(given) if isinstance(given, str) else dict(given)


def _as_usage_error(error: Exception) -> Exception:
    """Returns a `UsageError` if lm-eval failed to read its arguments.

    Other errors are bugs and stay.
    """
    place = Path(extract_tb(error.__traceback__)[-1].filename)
    if not any(place.match(pattern) for pattern in READS_ARGUMENTS):
        return error
    return UsageError(f"lm-eval: {' '.join(str(error.args[0]).split()) if error.args else error}")
