"""The command line on the pair that ships."""

import json

from speculative.evaluate.problems import problems


def test_ask_on_a_bundled_problem(process):
    child = process("ask", "--max-tokens", 60, "--json", real=True)
    out, err = child.communicate()
    assert (child.returncode, err) == (0, b"")
    told = json.loads(out)
    assert told["trace"]["events"][0]["problem"]["messages"][0]["content"] in {stated.problem for stated in problems()}
    assert set(told["usage"]) <= {"big", "small"}


def test_compare_on_bundled_problems(cli):
    rows = json.loads(
        cli("compare", "--methods", "random_switch,logprob_subselect", "--limit", 2, "--max-tokens", 40, "--no-controls", "--json").out
    )
    assert [row["chains"] for row in rows] == [2, 2]
