"""What a type checker tells a program that uses the library: `# refused` marks the lines with a mistake."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from speculative.methods.base import Method
from speculative.methods.registry import registered
from speculative.methods.wrapper import Wrapper

ROOT = Path(__file__).parents[1]

PROGRAM = """
from typing import assert_type

import speculative
from speculative import Chain, Draft, Method, Pair, Reply, Result
from speculative.methods.best_step import BestStep
from speculative.methods.random_switch import RandomSwitch
from speculative.methods.vote import Vote


class Own(Method):
    async def think(self, chain: Chain) -> None:
        draft = await chain.draft("small", max_tokens=5)
        assert_type(draft, Draft)
        assert_type(await chain.draft("small", after=draft), Draft)
        assert_type(await chain.draft("small", n=2), list[Draft])
        assert_type(await chain.draft("small", after=[draft]), list[Draft])
        assert_type(await chain.ask("big", "Is it right?"), Reply)
        assert_type(await chain.ask("big", "Is it right?", n=2), list[Reply])
        await chain.write("bigg")  # refused
        await chain.write("big", max_token=3)  # refused


async def work() -> None:
    async with await Pair.connect() as pair:
        assert_type(await speculative.asolve("x", RandomSwitch(big_share=0.3), pair=pair, max_tokens=3), Result)
        await speculative.asolve("x", RandomSwitch(), max_token=3)  # refused
        async for event in speculative.stream("x", BestStep(versions=2), pair=pair):
            print(event)
        speculative.stream("x", BestStep(), max_token=3)  # refused


speculative.solve("x", Vote(inner=RandomSwitch(unit="step"), ballots=2))
speculative.solve("x", "random_switch", big_share=0.3, max_tokens=3)
RandomSwitch(big_shar=0.3)  # refused
BestStep(versions="two")  # refused
"""


@pytest.mark.slow
def test_a_type_checker_accepts_right_programs_and_refuses_mistakes(tmp_path: Path) -> None:
    calls = [f"from {kind.__module__} import {kind.__name__}\n{kind.__name__}({_required(kind)})" for kind in registered().values()]
    program = "\n".join([PROGRAM, *calls])
    (tmp_path / "program.py").write_text(program)
    (tmp_path / "pyrightconfig.json").write_text(json.dumps({"extraPaths": [str(ROOT / "src")]}))
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(tmp_path)]
    reply = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    found = {issue["range"]["start"]["line"]: issue["message"] for issue in reply["generalDiagnostics"]}
    assert found.keys() == {number for number, line in enumerate(program.splitlines()) if "# refused" in line}, found


def _required(kind: type[Method]) -> str:
    """Returns the arguments that a method must have; a type checker has to see the defaults of all others."""
    assert {name for name, field in kind.model_fields.items() if field.is_required()} <= {"inner"}
    return "inner=RandomSwitch()" if issubclass(kind, Wrapper) else ""
