"""A prompt that is given raw is, marker for marker, what the family's own template makes of the message."""

import pytest

from speculative.errors import UsageError
from speculative.problem import Message, Problem
from speculative.prompts import DIALECTS


def joined(parts):
    """Neighbouring texts as one."""
    found = []
    for part in parts:
        if isinstance(part, str) and found and isinstance(found[-1], str):
            found[-1] += part
        elif part:
            found.append(part)
    return found


@pytest.mark.parametrize("name", DIALECTS)
def test_a_raw_prompt_is_the_template_spelled_out(name):
    dialect = DIALECTS[name]
    parts = dialect.prompt([Message("user", "2 + 2?")], "")
    spelled = "".join(part if isinstance(part, str) else part.text for part in parts)
    assert joined(dialect.raw(spelled)) == joined(parts)
    assert dialect.is_thinking_open(spelled) == bool(dialect.think_start)
    assert spelled.endswith(dialect.think_opening)
    assert not dialect.is_thinking_open(spelled + dialect.think_end)
    assert not dialect.is_templated(f"Say: {spelled}")


def test_a_raw_prompt_is_one_message():
    with pytest.raises(UsageError, match="one message"):
        Problem(messages=(Message("user", "a"), Message("user", "b")), raw=True)
