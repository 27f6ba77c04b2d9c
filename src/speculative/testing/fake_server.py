"""A model server for tests: it imitates vLLM, SGLang or llama.cpp.

It serves any engine, at a set pace, and breaks on demand.


async with FakeServer(ScriptedEngine("One.\\n\\nTwo.</think>")) as server:
    engine = await OpenAIEngine.connect(server.url, tokenizer=ScriptedTokenizer(), dialect="chatml")
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal

import msgspec
from aiohttp import web
from msgspec import Struct, structs

from speculative.engines.base import CallStats, Completion, Decoding, Engine
from speculative.errors import ContextExceededError, EngineError
from speculative.problem import Message
from speculative.prompts import Part, encode_parts, find_dialect, render
from speculative.testing.fake_llamacpp import LlamaCppStream, progress_message

Kind = Literal["vllm", "sglang", "llama.cpp", "chat", "other"]
Piece = tuple[int, Completion, int, int]
"""Which completion, the whole of it, and which of its tokens are sent now: from, up to."""


class Fault(Struct, frozen=True):
    """Describes what goes wrong in one call, after how many tokens.

    `status`: the call is answered with that status (and Retry-After). `garbage`: a text that is not JSON. `half`: half a JSON, and
    the end. `close`: the connection closes. `error`: an error in the middle of the stream. `stall`: nothing for `seconds`.
    `ping`: comments, empty lines and empty events for `seconds`, and then the connection closes. `said`: the error's message.
    """

    kind: Literal["status", "garbage", "half", "close", "error", "stall", "ping"]
    after: int = 0
    status: int = 500
    retry_after: str | None = None
    seconds: float = 3600.0
    said: str = "scripted"


class FakeServer:
    """Serves an engine on a port of this machine. `pace` is seconds a token.

    `faults` is a queue: each call that writes or scores takes the next one (None: nothing goes wrong). `requests` holds what was asked
    (path, headers, body), `peers` the other ends of the connections that calls came over, `running` how many answers are under way,
    `dropped` how many clients left before their answer's end. While it is `silent` it takes connections and answers nothing.
    `metrics` is the text of its page of metrics.

    As vLLM it serves `/inference/v1/generate` if `scale_out` is set: the first `in_cache` positions of a prompt then come from its cache,
    and their rows are garbage, or are missing if `drops_rows` is set. If `fcfs` is set, it refuses priorities, as versions before V1
    do without `--scheduling-policy priority`. If `pools` is set, it serves a reward model: `/pooling` alone, with
    a number for each token if `pools_steps` is set. As `chat` it only replies to conversations; if `renames_limit` is set, it refuses
    `max_tokens` for `max_completion_tokens`.
    """

    def __init__(
        self, engine: Engine, *, kind: Kind = "vllm", model: str = "fake", source: str = "fake", pace: float = 0.0, key: str | None = None
    ) -> None:
        self.engine, self.kind, self.model, self.source, self.pace, self.key = engine, kind, model, source, pace, key
        self.faults: deque[Fault | None] = deque()
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.peers: set[Any] = set()
        self.running = self.dropped = 0
        self.port = 0
        self.ids = self.cached = True
        self.speculates = self.silent = self.scale_out = self.drops_rows = self.pools = self.pools_steps = self.renames_limit = (
            self.fcfs
        ) = False
        self.in_cache = 0
        self.metrics = ""
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def start(self, port: int = 0) -> None:
        """Starts to listen; port 0 takes a free one."""
        app = web.Application(client_max_size=1 << 28)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        self.port = int(site.name.rpartition(":")[2])

    async def stop(self) -> None:
        """Closes every connection and the port."""
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> FakeServer:
        await self.start()
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.stop()

    # ---- what is asked of it ----------------------------------------------------------------------------------------

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if self.silent:
            await asyncio.sleep(3600)
        if self.key and request.headers.get("Authorization") != f"Bearer {self.key}":
            return web.json_response({"error": "Unauthorized"}, status=401)
        if request.method == "GET":
            if request.path == "/metrics" and self.metrics:
                return web.Response(text=self.metrics)
            if request.path == "/metrics" and self.speculates:
                return web.Response(text='vllm:spec_decode_num_drafts_total{engine="0"} 0.0\n')
            page = self._pages().get(request.path)
            return web.json_response(page) if page is not None else web.json_response({"detail": "Not Found"}, status=404)
        body: dict[str, Any] = await request.json()
        self.requests.append((request.path, dict(request.headers), body))
        self.peers.add(request.transport and request.transport.get_extra_info("peername"))
        if request.path == "/apply-template" and self.kind == "llama.cpp":
            return web.json_response({"prompt": render(self._templated(body))})
        if request.path == "/tokenize":
            return web.json_response(self._tokenized(body))
        if request.path == "/detokenize" and self.kind in ("vllm", "llama.cpp"):
            text = self.engine.tokenizer.to_bytes(body["tokens"]).decode("utf-8", "replace")
            return web.json_response({"prompt" if self.kind == "vllm" else "content": text})
        writes = {"sglang": "/generate", "llama.cpp": "/completion", "chat": "/v1/chat/completions"}.get(self.kind, "/v1/completions")
        if self.kind == "vllm" and request.path == "/inference/v1/generate" and not self.scale_out:
            return web.json_response({"detail": "The endpoint needs --enable-scale-out"}, status=403)
        paths = {"/pooling"} if self.pools else {writes, "/inference/v1/generate"} if self.kind == "vllm" else {writes}
        if request.path not in paths:
            return web.json_response({"detail": "Not Found"}, status=404)
        if self.renames_limit and "max_tokens" in body:
            said = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
            return web.json_response({"error": {"message": said}}, status=400)
        if self.fcfs and body.get("priority"):
            said = f"Got priority {body['priority']} but Priority scheduling is not enabled."
            return web.json_response({"error": {"message": said}}, status=400)
        fault = self.faults.popleft() if self.faults else None
        if fault and fault.kind == "status":
            headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
            return web.json_response({"error": {"message": fault.said}}, status=fault.status, headers=headers)
        self.running += 1
        try:
            return await self._served(request, body, fault)
        except ContextExceededError as error:
            return web.json_response({"error": {"message": str(error)}}, status=400)
        except (asyncio.CancelledError, ConnectionResetError):
            self.dropped += 1
            raise
        finally:
            self.running -= 1

    def _pages(self) -> dict[str, Any]:
        owner = {"vllm": "vllm", "sglang": "sglang", "llama.cpp": "llamacpp"}.get(self.kind, "someone")
        card = {"id": self.model, "object": "model", "owned_by": owner, "root": self.source, "max_model_len": self.engine.context}
        pages: dict[str, Any] = {"/v1/models": {"object": "list", "data": [card]}, "/health": {}}
        match self.kind:
            case "vllm":
                return pages | {"/version": {"version": "0.32.0"}}
            case "sglang":
                info = {"model_path": self.source, "tokenizer_path": self.source}
                return pages | {"/model_info": info, "/server_info": {"version": "0.5"}}
            case "llama.cpp":
                settings = {"default_generation_settings": {"n_ctx": self.engine.context}, "build_info": "b1", "model_path": self.source}
                return pages | {"/props": settings}
            case _:
                return pages

    def _tokenized(self, body: dict[str, Any]) -> dict[str, Any]:
        tokenizer = self.engine.tokenizer
        if "messages" in body:
            ids = encode_parts(tokenizer, self._templated(body))
        elif body.get("parse_special"):
            ids = encode_parts(tokenizer, find_dialect(self.engine.dialect).raw(body["content"]))
        else:
            ids = tokenizer.encode(body.get("prompt", body.get("content", "")))
        return {"tokens": ids, "count": len(ids), "max_model_len": self.engine.context}

    def _templated(self, body: dict[str, Any]) -> list[Part]:
        return find_dialect(self.engine.dialect).prompt([Message(turn["role"], turn["content"]) for turn in body["messages"]], "")

    # ---- how it answers ---------------------------------------------------------------------------------------------

    async def _served(self, request: web.Request, body: dict[str, Any], fault: Fault | None) -> web.StreamResponse:
        if not body.get("stream"):
            if fault:
                return await self._failed(request, None, fault)
            answers = {"/v1/chat/completions": self._replied, "/pooling": self._pooled, "/inference/v1/generate": self._generated}
            single = self._first_logprobs if "logprob_token_ids" in body else self._scored
            if self.kind in ("vllm", "other") and "logprobs" not in body:
                single = self._written
            return web.json_response(await answers.get(request.path, single)(body))
        prefixes, decoding = self._read_request(body)
        found = await self.engine.complete(prefixes, decoding, key="", stats=CallStats())
        flat = [
            await self._with_end(prefix, completion, decoding)
            for prefix, several in zip(prefixes, found, strict=True)
            for completion in several
        ]
        every = int((body.get("sampling_params") or body).get("stream_interval") or 1)
        speech = self._speech(flat[0], body) if self.kind == "llama.cpp" else None
        response: web.StreamResponse | None = None
        async for pieces, after in self._paced(flat, every, fault):
            if response is None:
                response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
                await response.prepare(request)
                if body.get("return_progress") and self.cached:
                    await self._tell(response, progress_message(len(prefixes[0])))
            for piece in pieces:
                for said in speech.messages(*piece[2:]) if speech else [self._said(piece, decoding, body)]:
                    await self._tell(response, said)
            if fault and after >= fault.after:
                return await self._failed(request, response, fault)
        assert response is not None, "a completion has at least its end"
        if self.kind in ("vllm", "other"):
            details = {"cached_tokens": 0} if self.cached else None
            usage = {"completion_tokens": sum(one.produced for one in flat), "prompt_tokens_details": details}
            await self._tell(response, {"choices": [], "usage": usage})
        if speech:
            await self._tell(response, speech.end)
            response.force_close()
            return response
        await response.write(b"data: [DONE]\n\n")
        return response

    async def _with_end(self, prefix: list[int], whole: Completion, decoding: Decoding) -> Completion:
        """Returns the completion with the likely tokens at the place of its end, too."""
        if whole.top_logprobs is None or whole.end_id is None:
            return whole
        seen = [*prefix, *whole.ids]
        (scores,) = await self.engine.score([seen], [[whole.end_id]], key="", stats=CallStats(), top=decoding.top_logprobs)
        return structs.replace(whole, top_logprobs=(*whole.top_logprobs, *(scores.top or ())))

    @staticmethod
    async def _tell(response: web.StreamResponse, said: dict[str, Any]) -> None:
        await response.write(b"data: " + msgspec.json.encode(said) + b"\n\n")

    async def _paced(self, flat: Sequence[Completion], every: int, fault: Fault | None) -> AsyncIterator[tuple[list[Piece], int]]:
        """Yields all completions side by side, `every` tokens at a time.

        With each goes the number of tokens of the longest that were sent.
        """
        if fault and fault.after == 0:
            yield [], 0
            return
        longest, place = max((len(one.ids) for one in flat), default=0), 0
        while True:
            step = min(every if place else 1, fault.after - place if fault and fault.after > place else every)
            step = min(step, max(1, longest - place))
            await asyncio.sleep(self.pace * step)
            pieces = [(i, one, place, place + step) for i, one in enumerate(flat) if place < max(len(one.ids), 1)]
            place += step
            yield pieces, place
            if place >= longest:
                return

    async def _failed(self, request: web.Request, response: web.StreamResponse | None, fault: Fault) -> web.StreamResponse:
        response = response or web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        if fault.kind == "stall":
            await asyncio.sleep(fault.seconds)
        if fault.kind == "close":
            assert request.transport, "the client is still there"
            request.transport.abort()
            return response
        if not response.prepared:
            await response.prepare(request)
        said = {
            "garbage": b"data: %%%?!\n\n",
            "half": b'data: {"choices": [{"index": 0, "token_',
            "error": b"data: " + msgspec.json.encode({"error": {"message": fault.said}}) + b"\n\n",
        }
        if fault.kind == "ping":
            await self._ping(request, response, fault.seconds)
        await response.write(said.get(fault.kind, b""))
        return response

    @staticmethod
    async def _ping(request: web.Request, response: web.StreamResponse, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end:
            await response.write(b": ping\n\n\n\ndata:\n\nevent: ping\ndata: \n\n")
            await asyncio.sleep(0.01)
        assert request.transport, "the client is still there"
        request.transport.abort()

    # ---- the three ways to speak ------------------------------------------------------------------------------------

    def _read_request(self, body: dict[str, Any]) -> tuple[list[list[int]], Decoding]:
        prompt: Any = body.get("prompt", body.get("input_ids"))
        prompt = self.engine.tokenizer.encode(prompt) if isinstance(prompt, str) else prompt
        prefixes = prompt if isinstance(prompt[0], list) else [prompt]
        if self.kind == "sglang":
            given = body["sampling_params"]
            stops, limit, seed = (tuple(given["stop"]), tuple(given["stop_token_ids"])), given["max_new_tokens"], given["sampling_seed"]
            drawing = (given["temperature"], given["top_p"], max(given["top_k"], 0), seed, 1)
            likely = (body.get("top_logprobs_num", 0), tuple(body.get("token_ids_logprob", ())))
            return prefixes, Decoding(limit, *drawing, *stops, body["return_logprob"], *likely)
        if self.kind == "llama.cpp":
            limit, markers = min(body["n_predict"], self.engine.context - len(prefixes[0])), self.engine.tokenizer.special_tokens
            stops = (
                tuple(stop for stop in body["stop"] if stop not in markers),
                tuple(markers[stop] for stop in body["stop"] if stop in markers),
            )
            drawing = (body["temperature"], body["top_p"], body["top_k"], body["seed"])
            return prefixes, Decoding(limit, *drawing, 1, *stops, bool(body.get("n_probs")), body.get("n_probs", 0))
        body = {"n": 1, "top_p": 1.0, "top_k": 0, "seed": 0, "stop": (), "stop_token_ids": ()} | body  # what other clients leave out
        if body["max_tokens"] + max(map(len, prefixes)) > self.engine.context:
            raise ContextExceededError(self.model, max(map(len, prefixes)), self.engine.context)
        if body["temperature"] == 0 and body["n"] > 1:
            raise EngineError("n must be 1 when using greedy sampling")
        stops = (tuple(body["stop"]), tuple(body["stop_token_ids"]))
        settings = (body["max_tokens"], body["temperature"], body["top_p"], body["top_k"], body["seed"], body["n"])
        likely = (body.get("logprobs") or 0, tuple(body.get("logprob_token_ids", ())))
        return prefixes, Decoding(*settings, *stops, body.get("logprobs") is not None, *likely)

    def _speech(self, whole: Completion, body: dict[str, Any]) -> LlamaCppStream:
        return LlamaCppStream(self.engine.tokenizer, whole, body["stop"], len(body["prompt"]), cached=self.cached)

    def _said(self, piece: Piece, decoding: Decoding, body: dict[str, Any]) -> dict[str, Any]:
        index, whole, start, end = piece
        last = end >= len(whole.ids)
        ending = [whole.end_id] if last and whole.end_id is not None else []
        ids, logprobs = [*whole.ids[start:end], *ending], [*(whole.logprobs or ())[start:end], *([-0.5] * len(ending))]
        places = (whole.top_logprobs or ())[start : None if last else end]
        reason = None if not last else "length" if whole.finish in ("length", "context") else "stop"
        if self.kind == "sglang":  # everything so far, each time
            so_far = [*whole.ids[:end], *ending]
            values = [*(whole.logprobs or ())[:end], *([-0.5] * len(ending))] if whole.logprobs else []
            scored = [[value, number, None] for value, number in zip(values, so_far, strict=False)]
            finish = {"type": reason, "matched": whole.end_id} if reason else None
            meta: dict[str, Any] = {"completion_tokens": len(so_far), "finish_reason": finish, "cached_tokens": 0}
            meta |= {"output_token_logprobs": scored or None, **_sglang_places(whole, len(so_far), decoding)}
            return {"output_ids": so_far, "meta_info": meta}
        choice: dict[str, Any] = {"index": index, "text": "", "finish_reason": reason, "stop_reason": whole.end_id if last else None}
        choice |= {"token_ids": ids} if self.ids else {}
        if whole.logprobs is not None:
            named = [{f"token_id:{number}": value for number, value in place} for place in places]
            if decoding.choices:  # they take the place of the likely ones
                chosen = zip(decoding.choices, whole.choice_logprobs or (), strict=True)
                named = [{f"token_id:{number}": value for number, value in chosen}] if start == 0 else []
                named += [{} for _ in ids[len(named) :]]
            choice["logprobs"] = {"token_logprobs": logprobs, "top_logprobs": named}
        so_far = {"completion_tokens": min(end, len(whole.ids)) + len(ending)}
        counts = self.kind == "vllm" and body.get("stream_options", {}).get("continuous_usage_stats")
        return {"choices": [choice], **({"usage": so_far} if counts else {})}

    async def _scored(self, body: dict[str, Any]) -> dict[str, Any]:
        ids: list[int] = body["input_ids"] if self.kind == "sglang" else body["prompt"]
        top = body.get("top_logprobs_num", 0) if self.kind == "sglang" else body["logprobs"]
        (values,) = await self.engine.score([ids[:1]], [ids[1:]], key="", stats=CallStats(), top=top)
        if self.kind == "sglang":
            start = body["logprob_start_len"]
            scored = [
                [None if place == start else value, number, None]
                for place, (value, number) in enumerate(zip([None, *values], ids, strict=True))
            ]
            likely = [None, *([[value, number, None] for number, value in place] for place in values.top or ())]
            meta = {"input_token_logprobs": scored[start:], "cached_tokens": start, "completion_tokens": 0}
            return {"meta_info": {**meta, "input_top_logprobs": likely[start:]}}
        named = [None, *({f"token_id:{number}": value for number, value in place} for place in values.top or ())]
        logprobs = {"token_logprobs": [None, *values], "top_logprobs": named}
        return {"choices": [{"index": 0, "token_ids": ids, "logprobs": logprobs}], "usage": {}}

    async def _written(self, body: dict[str, Any]) -> dict[str, Any]:
        """Answers a call that is not streamed with its completions."""
        prefixes, decoding = self._read_request(body)
        found = await self.engine.complete(prefixes, decoding, key="", stats=CallStats())
        flat = [completion for several in found for completion in several]
        await asyncio.sleep(self.pace * max(completion.produced for completion in flat))
        choices = [{"index": place, "token_ids": list(one.ids), "finish_reason": "length"} for place, one in enumerate(flat)]
        return {"choices": choices, "usage": {"completion_tokens": sum(one.produced for one in flat)}}

    async def _first_logprobs(self, body: dict[str, Any]) -> dict[str, Any]:
        """Answers a call for one token with the log-probabilities of requested ids.

        The token follows a prompt.
        """
        wanted: list[int] = body["logprob_token_ids"]
        prompt = body["prompt"]
        scores = await self.engine.score([prompt] * len(wanted), [[number] for number in wanted], key="", stats=CallStats())
        named = {f"token_id:{number}": value for number, (value,) in zip(wanted, scores, strict=True)}
        choice = {"index": 0, "token_ids": [1], "logprobs": {"token_logprobs": [-1.0], "top_logprobs": [named]}}
        return {"choices": [choice], "usage": {"completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": len(prompt) - 1}}}

    async def _replied(self, body: dict[str, Any]) -> dict[str, Any]:
        """Answers a chat with a reply to the whole conversation.

        The tokens of the reply are counted but not listed.
        """
        prompt = encode_parts(self.engine.tokenizer, self._templated(body))
        limit = body["max_completion_tokens" if self.renames_limit else "max_tokens"]
        end = self.engine.tokenizer.special_token_id("<|im_end|>")
        decoding = Decoding(limit, body["temperature"], body["top_p"], seed=body["seed"], stop_ids=(end,))
        ((reply,),) = await self.engine.complete([prompt], decoding, key="", stats=CallStats())
        text = self.engine.tokenizer.to_bytes(reply.ids).decode("utf-8", "replace")
        reason = "stop" if reply.finish == "end" else "length"
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}
        usage = {"prompt_tokens": len(prompt), "completion_tokens": reply.produced, "prompt_tokens_details": {"cached_tokens": 0}}
        return {"choices": [choice], "usage": usage}

    async def _generated(self, body: dict[str, Any]) -> dict[str, Any]:
        """Answers `/inference/v1/generate` as vLLM does.

        The rows of `in_cache` positions hold garbage, or are missing.
        """
        ids, count = body["token_ids"], body["sampling_params"]["prompt_logprobs"]
        (values,) = await self.engine.score([ids[:1]], [ids[1:]], key="", stats=CallStats(), top=count)
        rows: list[Any] = [None]
        for place, (number, value) in enumerate(zip(ids[1:], values, strict=True)):
            likely = dict(values.top[place]) if values.top else {}
            rows.append({str(one): {"logprob": logprob, "rank": 1} for one, logprob in (likely | {number: value}).items()})
        garbage = {"1": {"logprob": 4.6e-41, "rank": 1070032569}}
        cached = min(self.in_cache, len(ids) - 1)
        rows[1 : cached + 1] = [] if self.drops_rows else [garbage] * cached
        usage = {"completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": cached}}
        return {"choices": [{"index": 0, "token_ids": [1]}], "prompt_logprobs": rows, "usage": usage}

    async def _pooled(self, body: dict[str, Any]) -> dict[str, Any]:
        """Answers `/pooling` with a number for each text.

        A model that pools by steps gives a number for each token of a text.
        """
        engine: Any = self.engine
        texts: list[list[int]] = body["input"]
        rewards = await engine.reward(texts, key="", stats=CallStats())
        each = zip(texts, rewards, strict=True)
        found = [[[0.0]] * (len(text) - 1) + [[reward]] if self.pools_steps else [reward] for text, reward in each]
        data = [{"index": place, "object": "pooling", "data": one} for place, one in enumerate(found)]
        return {"object": "list", "data": data, "usage": {"prompt_tokens": sum(map(len, texts))}}


def _sglang_places(whole: Completion, count: int, decoding: Decoding) -> dict[str, Any]:
    """Returns the likely and the chosen tokens of the first `count` places."""
    found: dict[str, Any] = {}
    if decoding.top_logprobs:
        places = (whole.top_logprobs or ())[:count]
        found["output_top_logprobs"] = [[[value, number, None] for number, value in place] for place in places]
    if decoding.choices:
        chosen = [[value, number, None] for number, value in zip(decoding.choices, whole.choice_logprobs or (), strict=True)]
        found["output_token_ids_logprobs"] = [chosen, *[[] for _ in range(count - 1)]]
    return found
