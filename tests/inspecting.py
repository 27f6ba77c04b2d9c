"""How tests run inspect-ai: `@inspecting`. The fixture `tidied` stands in the conftest beside this."""

import pytest

MARKS = (
    # inspect-ai 0.3.285 calls tenacity by a name that has a new one
    pytest.mark.filterwarnings("ignore:The 'initial' parameter is deprecated:DeprecationWarning"),
    # and it leaves streams between its tasks to the garbage collector
    pytest.mark.filterwarnings("ignore:Unclosed <MemoryObject:ResourceWarning"),
    pytest.mark.usefixtures("tidied"),
)


def inspecting(test):
    """A test, or a class of them, in which inspect-ai runs."""
    for mark in MARKS:
        test = mark(test)
    return test
