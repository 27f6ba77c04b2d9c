"""Limits, queueing, and clients that go away."""

import asyncio
import contextlib
import json
import threading

import pytest
from fastapi import Request
from serving import ANSWER, ASK, THOUGHT, pair, serving

from speculative.methods.vote import Vote
from speculative.serve import streaming
from speculative.serve.body import BodyDeadlines
from speculative.serve.errors import ApiError
from speculative.settings import Settings

BODY = json.dumps(ASK).encode()
STREAM = json.dumps({**ASK, "stream": True}).encode()


def test_bodies_and_turns_have_limits():
    with serving(max_body=2000, max_messages=2) as served:
        big = {**ASK, "messages": [{"role": "user", "content": "x" * 3000}]}
        reply = served.post(json=big)
        assert (reply.status_code, reply.json()["error"]["code"]) == (413, "body_too_large")

        def pieces():
            for _ in range(50):
                yield b" " * 100

        reply = served.post(content=pieces(), headers={"content-type": "application/json"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (413, "body_too_large")
        assert served.post(json={**ASK, "messages": ASK["messages"] * 3}).status_code == 400
        assert served.post().status_code == 200


@pytest.mark.parametrize("body", [BODY, STREAM, json.dumps({**ASK, "with": ["vote"], "n": 2}).encode()], ids=["whole", "stream", "vote"])
def test_a_client_that_goes_away_ends_its_chain_and_the_engines_work(body):
    with serving(pair(delay=1.0)) as served:
        client = served.connect(body)
        served.wait(lambda: served.running)
        client.close()
        served.wait(lambda: not served.running and not served.state.queue.running)
        served.wait(lambda: served.state.metrics.cancelled._value.get() == 1)
        served.wait(lambda: b'speculative_tokens_total{fate="prompt"' in served.state.metrics.page())  # what it cost is counted


def test_a_stream_ends_when_its_client_hangs_up():
    with serving(pair(delay=0.02)) as served:
        client = served.connect(STREAM)
        assert b"200 OK" in client.recv(100)
        client.close()
        served.wait(lambda: not served.running and not served.state.queue.running)


def test_too_many_chains_wait_and_then_get_429():
    with serving(pair(delay=1.0), max_chains=1, max_waiting=1, queue_seconds=0.2) as served:
        client = served.connect(BODY)
        served.wait(lambda: served.running)
        reply = served.post()
        assert reply.status_code == 429
        assert int(reply.headers["retry-after"]) >= 1
        assert reply.json()["error"]["code"] == "too_many_chains"
        waiting = served.connect(BODY)
        served.wait(lambda: served.state.queue.waiting == 1)
        assert served.post().status_code == 429  # the queue is full: at once
        waiting.close()
        served.wait(lambda: served.state.queue.waiting == 0)
        client.close()
        served.wait(lambda: not served.running)
        assert served.post(json={**ASK, "n": 2}).status_code == 400


def test_the_ballots_of_a_vote_are_chains():
    """Else one request could become as many chains as its ballots multiply to."""
    with serving(pair(delay=1.0), max_chains=6, queue_seconds=0.05) as served:
        for wrappers, place in (
            ("vote(ballots=7)", "with.ballots"),
            (["vote(ballots=3)", "vote(ballots=4)"], "with[1].ballots"),
            (["early_exit", "vote(ballots=32)", "vote(ballots=31)"], "with[1].ballots"),
        ):
            refused = served.post(json={**ASK, "with": wrappers})
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, place)
            told = "vote.ballots: a request may have at most 6 chains at once (--max-chains), got "
            assert refused.json()["error"]["message"].startswith(told)
        refused = served.post(json={**ASK, "with": ["vote(ballots=1001)", "vote(ballots=1000)"]}).json()["error"]  # of any service
        assert (refused["param"], "at most 1024 chains together" in refused["message"]) == ("with[1]", True)
        with contextlib.closing(served.connect(json.dumps({**ASK, "with": ["vote(ballots=3)"], "n": 2}).encode())):
            served.wait(lambda: served.state.queue.running == 6)
            assert served.post().status_code == 429


def test_a_wrapper_without_a_field_of_chains_is_named_by_its_place(monkeypatch):
    monkeypatch.setattr(Vote, "chains_field", None)
    monkeypatch.setattr(Vote, "chains_at_once", 7)
    with serving(max_chains=6) as served:
        refused = served.post(json={**ASK, "with": ["early_exit", "vote"]}).json()["error"]
        assert refused["param"] == "with[1]"
        assert refused["message"].startswith("vote: a request may have at most 6 chains at once (--max-chains), got 7")


def test_one_request_cannot_ask_for_any_number_of_drafts():
    """Each is a completion that the engine's server works on at the same time."""
    beams, rewrites = "speculative/logprob_subselect", "speculative/spec_rewrite"
    with serving(max_drafts=8, max_chains=8) as served:
        for asked, field, told in (
            ({"model": beams, "params": {"sgen": 9}}, "sgen", "sgen: 9 drafts in one call are more than the 8"),
            ({"model": rewrites, "params": {"drafting_n": 9}}, "drafting_n", "drafting_n: 9 drafts"),
            ({"model": beams, "params": {"sgen": 9}, "with": ["early_exit"]}, "sgen", "sgen: 9 drafts"),
            (
                {"model": beams, "params": {"sgen": 4}, "n": 3},
                "sgen",
                "sgen: 4 drafts in one call, in each of 3 chains, are more than the 8",
            ),
            ({"model": beams, "params": {"sgen": 2}, "with": ["vote(ballots=5)"]}, "sgen", "in each of 5 chains"),
        ):
            reply = served.post(json={**ASK, **asked})
            assert (reply.status_code, reply.json()["error"]["param"]) == (400, f"params.{field}")
            assert told in reply.json()["error"]["message"]
            assert "--max-drafts" in reply.json()["error"]["message"]
        old = served.post("/speculative_reason", {"question": "2 + 2?", "logprob_subselect": True, "sgen": 9})
        assert (old.status_code, old.json()["error"].partition(" are")[0]) == (400, "params: sgen: 9 drafts in one call")
        for asked in (
            {"model": beams, "params": {"sgen": 8}},
            {"model": beams, "params": {"sgen": 4}, "n": 2},
            {"model": rewrites, "params": {"drafting_n": 8}},
            {"model": "speculative/random_switch", "n": 8},
        ):
            assert served.post(json={**ASK, **asked}).status_code == 200
    with serving() as served:
        assert served.post(json={**ASK, "model": beams, "params": {"sgen": 8192}}).status_code == 400


def test_a_waiting_request_gets_the_free_place():
    with serving(pair(delay=0.002), max_chains=1, queue_seconds=20) as served:
        statuses = []
        threads = [threading.Thread(target=lambda: statuses.append(served.post().status_code)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses == [200] * 4
        served.wait(lambda: served.state.queue.running == 0)


def test_comment_lines_are_sent_while_no_text_is_final(monkeypatch):
    monkeypatch.setattr(streaming, "KEEPALIVE_S", 0.05)
    with serving(pair(delay=0.005)) as served:
        text = served.post(json={**ASK, "stream": True, "with": ["vote(ballots=2)"]}).text
        comments = [line for line in text.split("\n\n") if line.startswith(":")]
        chunks = [json.loads(line[6:]) for line in text.split("\n\n") if line.startswith("data: {")]
        assert comments
        assert text.index(": ") < text.index('"reasoning"')
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
        assert "".join(delta.get("reasoning", "") for delta in deltas) == THOUGHT
        assert "".join(delta.get("content", "") for delta in deltas) == ANSWER


def test_text_is_sent_while_it_is_written():
    with serving(pair("word " * 9000, delay=0.01, width=1)) as served:
        client = served.connect(STREAM)
        got = b""
        while b'"reasoning":"' not in got:
            got += client.recv(1000)
        assert served.running  # the chain goes on while its first words are here
        client.close()
        served.wait(lambda: not served.running)


def test_a_drain_lets_chains_finish_and_begins_none():
    with serving(pair(delay=1.0), max_chains=2, drain=60) as served:
        replies = []
        threads = [threading.Thread(target=lambda: replies.append(served.post())) for _ in range(4)]
        for thread in threads:
            thread.start()
        served.wait(lambda: served.state.queue.running == 2 and served.state.queue.waiting == 2)
        served.server.stop()
        for engine in served.engines.values():
            engine.delay = 0.001  # until here they hardly move, however slow the clients are
        for thread in threads:
            thread.join()
        assert sorted(reply.status_code for reply in replies) == [200, 200, 503, 503]
        assert {reply.json()["error"]["code"] for reply in replies if reply.status_code == 503} == {"draining"}


@pytest.mark.parametrize("body", [BODY, STREAM], ids=["whole", "stream"])
def test_chains_that_do_not_finish_in_the_drain_get_an_error(body):
    with serving(pair(delay=0.2), drain=0.1) as served:
        client = served.connect(body)
        served.wait(lambda: served.running)
        if body is STREAM:
            client.recv(10)
        served.server.stop()
        got = b""
        while piece := client.recv(10_000):
            got += piece
        client.close()
        assert b"did not finish this chain" in got
        assert b"[DONE]" not in got
        served.wait(lambda: not served.running)


async def test_the_end_of_the_service_does_not_trip_over_a_body_whose_deadline_has_just_passed():
    deadlines, loop = BodyDeadlines(), asyncio.get_running_loop()

    async def receive():
        await loop.create_future()

    async def read():
        request = Request({"type": "http", "method": "POST", "headers": []}, receive)
        with pytest.raises(ApiError) as raised:
            await deadlines.read(request, Settings())
        return raised.value.status

    async def close_again():
        deadlines.close()

    reading = [asyncio.create_task(read()) for _ in range(2)]
    await asyncio.sleep(0)
    deadlines.close()
    await asyncio.create_task(close_again())  # runs between the deadlines and the wake-up of the readers
    assert await asyncio.gather(*reading) == [503, 503]
