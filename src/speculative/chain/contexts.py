"""The prefixes of all roles of one chain, and what it has said last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain as flatten
from typing import Any

from speculative.chain.context import Prompts, View, tokenize_prompt
from speculative.chain.drafts import Draft
from speculative.chain.tokenizing import SHORT_TEXT, tokenize_off_loop
from speculative.engines.base import Engine, Ids
from speculative.errors import ChainStateError, ContextExceededError
from speculative.problem import Problem
from speculative.prompts import Part, Question
from speculative.prompts.parts import QuestionPrompt
from speculative.trace.events import Phase
from speculative.trace.state import Ledger

LINE = "\n"
"""The joint between a problem and the instruction of one role, which small models were trained with."""


class RoleContexts:
    """Builds each role's context when it is first used.

    `prompts` is shared by all chains on one problem. `instructions` are those of single roles, which a child has from its parent.
    """

    def __init__(
        self,
        engines: Mapping[str, Engine],
        problem: Problem,
        ledger: Ledger,
        prompts: Prompts,
        instructions: Mapping[str, str] | None = None,
    ) -> None:
        self.engines, self.problem, self.ledger, self.prompts = engines, problem, ledger, prompts
        self.instructions = dict(instructions or {})
        self._reserve, self._size = problem.reserve, sum(len(message.content) for message in problem.messages)
        self._contexts: dict[str, View] = {}
        self._questions: dict[str, tuple[Sequence[Part], list[int]]] = {}

    def of(self, role: str) -> View:
        """Returns a role's context.

        Raises `ChainStateError` for a role that the pair does not have.
        """
        view = self._contexts.get(role) if isinstance(role, str) else None  # pyright: ignore[reportUnnecessaryIsInstance]
        return self._open(role) if view is None else view

    def _open(self, role: str) -> View:
        if not isinstance(role, str) or role not in self.engines:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ChainStateError(f"no engine has the role {role!r}; the pair has {', '.join(self.engines)}")
        fingerprint = self.engines[role].tokenizer.fingerprint
        same = frozenset(other for other, engine in self.engines.items() if engine.tokenizer.fingerprint == fingerprint)
        problem, prompts = self.problem, self.prompts
        if role in self.instructions:
            problem, prompts = problem.with_instruction(self.instructions[role], LINE), Prompts()
        view = self._contexts[role] = View(role, self.engines[role], problem, same, prompts)
        return view

    async def instruct(self, role: str, text: str) -> int:
        """Adds an instruction to the problem for one role.

        Returns the tokens that its prompt grew by.

        A long problem is tokenized beside the event loop.
        """
        before, engine = len(self.prefix(role)), self.engines[role]
        whole = self.instructions[role] = LINE.join([*([self.instructions[role]] if role in self.instructions else []), text])
        problem = self.problem.with_instruction(whole, LINE)
        kind = (engine.dialect, engine.tokenizer.fingerprint)
        size = sum(len(message.content) for message in problem.messages)
        prompts = {kind: await tokenize_off_loop(size, partial(tokenize_prompt, engine, problem))}
        if self.instructions[role] == whole:  # else another one came meanwhile, which has this one in it
            self._contexts[role] = View(role, engine, problem, self._contexts[role].same, prompts)
        return len(self.prefix(role)) - before

    def prefix(self, role: str, after: Draft | None = None) -> list[int]:
        """Returns a role's ids of the prompt, the chain, and the drafts down to `after`."""
        return self.of(role).prefix(self.ledger.entries, after if after and after.state != "accepted" else None)

    def opening(self, role: str, after: Draft, phase: Phase) -> list[int]:
        """Returns a role's ids that open a phase after a draft."""
        return self.of(role).opening(self.ledger.entries, after if after.state != "accepted" else None, phase)

    def question(self, role: str, question: Question, after: Draft | None) -> tuple[list[int], tuple[str, ...]]:
        """Returns the prefix that asks a role a question, and the reply's stop strings."""
        context, asking = self.of(role), self._asking(role, question, after)
        known = self._questions.get(role)
        ids = known[1] if known and known[0] == asking.parts else context.parts(asking.parts)
        self._questions[role] = asking.parts, ids
        return (self.prefix(role, after) if asking.follows_chain else []) + ids, asking.stop

    async def tokenize_question(self, role: str, question: Question, after: Draft | None) -> None:
        """Tokenizes a long question beside the event loop, for the next `question`.

        A question may hold the whole problem.
        """
        if self._size + len(question.text) > SHORT_TEXT:
            parts = self._asking(role, question, after).parts
            size = sum(len(part) for part in parts if isinstance(part, str))
            self._questions[role] = parts, await tokenize_off_loop(size, partial(self.of(role).parts, parts))

    def _asking(self, role: str, question: Question, after: Draft | None) -> QuestionPrompt:
        """Returns a question as the role's dialect puts it.

        Raises `ChainStateError` for an unknown kind.
        """
        asking: Any = self.of(role).dialect.ask(question, self.problem.messages, self.last_text(after))
        if asking is None:
            raise ChainStateError(f"ask: the kind of a question must be a known one, got {question.kind!r}")
        return asking

    def last_text(self, after: Draft | None = None) -> str:
        """Returns the last non-empty text of the drafts down to `after`.

        If these have none, it returns the chain's.
        """
        return next((text for text in self._texts(after) if text), "")

    def ending(self, size: int, after: Draft | None = None, phase: Phase | None = None) -> str:
        """Returns the last characters of the text down to `after`.

        `phase`: of this phase alone.
        """
        found = ""
        for text in self._texts(after, phase):
            found = text + found
            if len(found) >= size:
                break
        return found[max(0, len(found) - size) :]

    def _texts(self, after: Draft | None = None, phase: Phase | None = None) -> Iterator[str]:
        """Yields the texts of drafts and pieces, the last one first."""
        drafts: list[Draft] = after.path() if after else []
        return (one.text for one in flatten(reversed(drafts), reversed(self.ledger.pieces)) if phase in (None, one.phase))

    def free_positions(self, role: str, prefix: Ids) -> int:
        """Returns the positions of a role's model that the thinking may still fill.

        Positions that the answer needs are left out.
        """
        context = self.engines[role].context
        return context - len(prefix) - min(self._reserve, context // 8)

    def check_fits(self) -> None:
        """Raises `ContextExceededError` if the problem leaves a model no room to write."""
        for role, engine in self.engines.items():
            prefix = self.prefix(role)
            if self.free_positions(role, prefix) < 1:
                error = ContextExceededError(engine.name, len(prefix), engine.context)
                error.role = role
                raise error
