"""What a chain found in the cache that it had not put there."""

from hypothesis import given
from hypothesis import strategies as st

from speculative.engines.base import Completion
from speculative.runs.shared_cache import lent
from speculative.trace.events import Call, Child, Drafted, Proposal, Rewound, Scored, Wrote
from speculative.trace.trace import Trace


def call(role, prompt, cached, produced=0, requests=1):
    return Call(role, requests, prompt, cached, produced, 0, 0.5)


def proposal(tokens, number=1, parent=None):
    return Proposal(number, parent, "x", Completion((7,) * tokens, "length"), 0, "thinking")


def wrote(at, role, prompt, cached, tokens=10):
    return Wrote(at=at, call=call(role, prompt, cached, tokens), seed=0, proposal=proposal(tokens))


def test_a_first_prompt_is_lent_and_what_the_role_wrote_itself_is_not():
    assert lent(Trace([wrote(1, "big", 50, 49), wrote(2, "big", 60, 59)])) == {"big": 49}
    assert lent(Trace([wrote(1, "big", 50, 0), wrote(2, "big", 60, 59)])) == {"big": 0}


def test_words_of_the_other_model_that_another_chain_had_read_are_lent():
    met = [wrote(1, "big", 50, 0), wrote(2, "small", 40, 0, 20), wrote(3, "big", 80, 79), wrote(4, "small", 70, 60)]
    assert lent(Trace(met)) == {"big": 19, "small": 0}


def test_what_was_taken_back_is_not_what_was_found():
    met = [wrote(1, "big", 50, 0, 30), Rewound(at=2, pieces=0), wrote(3, "big", 75, 74)]
    assert lent(Trace(met)) == {"big": 24}
    assert lent(Trace([met[0], met[2]])) == {"big": 0}


def test_what_several_drafts_share_is_computed_once():
    several = Drafted(at=2, call=call("small", 240, 180, 40, requests=4), seed=0, proposals=tuple(proposal(10, n) for n in range(4)))
    assert lent(Trace([several])) == {"small": 0}
    judged = Scored(at=3, call=call("big", 150, 145), drafts=(1, 2, 3), logprobs=((0.0,) * 10,) * 3, digest="")
    assert lent(Trace([judged])) == {"big": 45}


def test_children_share_what_the_first_to_begin_was_lent():
    children = [Child(at=0, index=n, seed=n, events=[wrote(n, "big", 50, 49), wrote(3 + n, "big", 60, 59)]) for n in (1, 2)]
    assert lent(Trace([*children[::-1]])) == {"big": 49}


@given(st.lists(st.tuples(st.sampled_from(["big", "small"]), st.integers(1, 30)), max_size=9))
def test_a_chain_that_finds_only_its_own_is_lent_nothing(turns):
    text, seen, met = 50, {"big": 0, "small": 0}, []
    for at, (role, tokens) in enumerate(turns):
        met.append(wrote(at, role, text, min(seen[role], text - 1), tokens))
        text += tokens
        seen[role] = text
    assert not any(lent(Trace(met)).values())
