"""The extractor of answers, with a real server on a socket."""

import json

import pytest
from aiohttp import web

from speculative import EngineError, Pair, Problem
from speculative.evaluate.extractor import Extractor
from speculative.evaluate.problems import problems
from speculative.evaluate.runner import EvalCell, EvalRunner
from speculative.evaluate.tasks import task
from speculative.methods.spec import parse_method
from speculative.runs.folder import RunFolder
from speculative.testing import ScriptedEngine


class Pointing:
    """A server whose model replies `reply`."""

    def __init__(self, reply="174"):
        self.reply, self.bodies, self.keys = reply, [], []

    async def chat(self, request):
        self.bodies.append(await request.json())
        self.keys.append(request.headers.get("Authorization"))
        return web.json_response(self.reply if isinstance(self.reply, dict) else {"choices": [{"message": {"content": self.reply}}]})

    async def models(self, request):
        return web.json_response({"object": "list", "data": [{"id": "finder", "object": "model", "owned_by": "us"}]})


@pytest.fixture
async def pointing(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    (tmp_path / ".env").write_text("OPENAI_API_KEY=s3cret\n")
    told = Pointing()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", told.chat)
    app.router.add_get("/v1/models", told.models)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    told.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield told
    await runner.cleanup()


async def test_the_answer_is_copied_out_of_the_text(pointing):
    async with Extractor(f"mini@{pointing.url}") as finder:
        assert await finder("How many?", "I get 174 in the end") == ("\\boxed{174}", "mini")
    assert pointing.bodies[0]["model"] == "mini"
    assert pointing.keys == ["Bearer s3cret"]


@pytest.mark.parametrize("reply", ["175", "NONE", "", None, "The answer: 174", "17", "74", "nd"])
async def test_a_reply_outside_of_the_text_does_not_count(pointing, reply):
    pointing.reply = reply
    async with Extractor(pointing.url) as finder:
        assert finder.name == "finder"
        assert await finder("How many?", "I get 174 in the end") is None


async def test_a_malformed_reply_is_an_error(pointing):
    pointing.reply = {"error": "no"}
    async with Extractor(pointing.url) as finder:
        with pytest.raises(EngineError, match="its reply must be a chat completion"):
            await finder("How many?", "174")


async def test_the_extractor_is_asked_only_if_the_grader_finds_nothing(pointing, tmp_path):
    stated = problems(task="stories")[:2]

    def script(seen, seed):
        answer = "\n\nI get 174 in the end" if "131 beads" in seen else "\n\nIt is \\boxed{248}"
        return answer if "</think>" in seen else "So.</think>"

    async with Pair(ScriptedEngine(script), ScriptedEngine(script)) as pair:
        with RunFolder(tmp_path / "run") as folder:
            async with Extractor(f"mini@{pointing.url}") as finder:
                cell = EvalCell(task("stories"), parse_method("big_only"), stated, Problem.of("x"))
                await EvalRunner.on(pair, folder, chains=1, extract=finder).run_cells([cell])
                one, other = folder.samples
    assert one.correct
    assert one.why == "equal to the gold answer (the answer was found by mini)"
    assert "boxed" not in one.answer
    assert other.correct
    assert "found by" not in other.why
    (body,) = pointing.bodies
    assert json.dumps(body).count("174") == 1  # which the text itself holds
