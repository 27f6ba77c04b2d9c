"""Test doubles: a scripted engine and fake model servers."""

from speculative.testing.scripted import MARKERS, Script, ScriptedEngine, ScriptedVocabulary

__all__ = ["MARKERS", "Script", "ScriptedEngine", "ScriptedVocabulary"]
