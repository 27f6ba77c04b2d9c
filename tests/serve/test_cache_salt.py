"""Callers with unlike keys do not share a prefix cache."""

from serving import TEXT, serving

from speculative.engines.base import CACHE_SALT
from speculative.pair import Pair
from speculative.testing import ScriptedEngine


class Salted(ScriptedEngine):
    """Notes the salt of each call."""

    def __init__(self):
        super().__init__(TEXT, width=2)
        self.salts = []

    def stream(self, prefix, decoding, *, key, stats):
        self.salts.append(CACHE_SALT.get())
        return super().stream(prefix, decoding, key=key, stats=stats)

    async def complete(self, prefixes, decoding, *, key, stats):
        self.salts.append(CACHE_SALT.get())
        return await super().complete(prefixes, decoding, key=key, stats=stats)


def salts(**settings):
    engine = Salted()
    with serving(Pair(engine, engine), **settings) as served:
        found = []
        for key in ("sk-first", "sk-second", "sk-first"):
            engine.salts.clear()
            assert served.post(headers={"Authorization": f"Bearer {key}"}).status_code == 200
            (salt,) = set(engine.salts)
            found.append(salt)
    return found


def test_each_key_has_a_salt_that_does_not_tell_it():
    first, second, again = salts(api_key="sk-first, sk-second")
    assert first == again != second
    assert "sk-" not in first + second


def test_without_keys_all_share_one_cache():
    assert set(salts()) == {""}
