"""lm-eval's chains through a running service: what it answers is what engines of our own would have."""

import pytest
from serving import pair, serving

from speculative.errors import EngineRefusedError, EngineServerError, EngineUnreachableError
from speculative.evaluate.lm_eval.arguments import read
from speculative.evaluate.lm_eval.chains import solver
from speculative.evaluate.lm_eval.service import Service
from speculative.problem import Problem

TOLD = {"method": "random_switch", "switch_ratio": 2, "with": "early_exit", "seed": 5, "max_tokens": 500}


async def asked(url, problem=None, **told):
    arguments = read({"service": url, **TOLD, **told})
    service = Service(url, arguments)
    try:
        await service.check()
        return await service.solve(problem or arguments.problem, arguments.contender.method)
    finally:
        await service.aclose()


@pytest.mark.parametrize("told", [{}, {"answer_instruction": "Say it."}, {"with": "early_exit|vote(ballots=3)"}])
async def test_the_same_chain_as_with_engines(served, told):
    arguments = read({**TOLD, **told})
    async with pair() as engines:
        ours = await solver(engines)(arguments.problem, arguments.contender.method)
    theirs = await asked(served.url, **told)
    assert (theirs.text, theirs.reasoning, theirs.finish_reason) == (ours.text, ours.reasoning, ours.finish_reason)
    assert (theirs.method, theirs.params, theirs.seed) == (ours.method, ours.params, ours.seed)
    assert theirs.trace.timeless()[1:] == ours.trace.timeless()[1:]  # the first event holds the service's own limits
    assert {role: usage.kept_tokens for role, usage in theirs.usage.items()} == {role: u.kept_tokens for role, u in ours.usage.items()}


async def test_stop_strings_and_sampling_arrive(served):
    problem = Problem.of("2 + 2?", stop=("Well",), max_tokens=900, seed=9)
    reply = await asked(served.url, problem)
    assert reply.text == "The answer is \\boxed{4}."
    assert reply.answer == "4"
    sent = reply.trace.started.problem
    assert (sent.messages, sent.stop, sent.max_tokens, sent.seed) == (problem.messages, problem.stop, 900, 9)


async def test_an_instruction_that_is_not_told_is_the_family_s_own(served):
    reply = await asked(served.url, Problem.of("2 + 2?"))
    assert reply.trace.started.problem.answer_instruction is None
    assert (await asked(served.url, Problem.of("2 + 2?", answer_instruction=""))).trace.started.problem.answer_instruction == ""


async def test_what_the_service_refuses_is_told_in_its_words(served):
    with pytest.raises(EngineRefusedError, match="max_tokens"):
        await asked(served.url, max_tokens=1 << 30)
    with pytest.raises(EngineUnreachableError, match="nothing listens there"):
        await asked("http://127.0.0.1:9")


async def test_a_key_is_taken_from_the_environment(monkeypatch):
    with serving(api_key="secret-key") as running:
        with pytest.raises(EngineRefusedError, match=r"401 .*SPECULATIVE_SERVICE_KEY in the environment"):
            await asked(running.url)
        monkeypatch.setenv("SPECULATIVE_SERVICE_KEY", "secret-key")
        assert (await asked(running.url)).answer == "4"


async def test_another_server_is_told_apart(served):
    arguments = read({"service": served.url})
    service = Service(f"{served.url}/nowhere", arguments)
    with pytest.raises(EngineRefusedError):
        await service.solve(arguments.problem, arguments.contender.method)
    await service.aclose()


async def test_an_answer_that_is_none_is_a_fault(served, monkeypatch):
    arguments = read({"service": served.url})
    service = Service(served.url, arguments)

    async def other(*_, **__):
        return b'{"choices": []}'

    monkeypatch.setattr(service._link, "post", other)
    with pytest.raises(EngineServerError, match="no answer of `speculative serve`"):
        await service.solve(arguments.problem, arguments.contender.method)
    await service.aclose()
