"""Test doubles: a scripted engine and fake model servers."""

from speculative.testing.scripted import SPECIAL_TOKENS, Script, ScriptedEngine, ScriptedTokenizer

__all__ = ["SPECIAL_TOKENS", "Script", "ScriptedEngine", "ScriptedTokenizer"]
