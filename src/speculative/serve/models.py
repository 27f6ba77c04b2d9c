"""The models that the service offers: one for each method and each preset."""

from __future__ import annotations

from collections.abc import Mapping

from speculative.errors import UnsupportedMethodError
from speculative.methods.base import Method
from speculative.methods.registry import parameter_schema
from speculative.pair import Pair
from speculative.serve.completion_writer import encode
from speculative.serve.replies import ModelCard, ModelList
from speculative.serve.request import OWNER, innermost, unknown_model
from speculative.settings import Preset


class ModelCatalog:
    """Describes the models, once, since the list holds the schema of every method.

    `pair`: None while it loads. Until then every method is listed, without a context length.
    """

    def __init__(self, presets: Mapping[str, Preset], default: str, created: int, pair: Pair | None) -> None:
        self._default, self._created, self._pair = default, created, pair
        methods = {name: preset.build() for name, preset in presets.items()}
        cards = {name: self._card(name, method) for name, method in methods.items()}
        self._cards = {name: card for name, card in cards.items() if card}
        listed = [card for name, card in self._cards.items() if type(methods[name]).listed or name != type(methods[name]).name()]
        self.page = encode(ModelList(listed))

    def one(self, model: str) -> ModelCard:
        """Finds one model by its id. Raises `UnknownNameError`."""
        name = model.removeprefix(f"{OWNER}/")
        card = self._cards.get(self._default if name == OWNER else name)
        if card is None:
            raise unknown_model(model[:256], self._cards)
        return card

    def _card(self, name: str, method: Method) -> ModelCard | None:
        """Describes a model, or returns None for a method that the pair cannot serve."""
        kind = type(innermost(method))
        about = {"method": method.full_name, "params": method.params, "about": kind.summary()}
        about |= {"append_only": method.text_is_final, "schema": parameter_schema(kind)}
        card = ModelCard(id=f"{OWNER}/{name}", created=self._created, owned_by=OWNER, speculative=about)
        if self._pair is not None:
            try:
                self._pair.check(method)
            except UnsupportedMethodError:
                return None
            card.max_model_len = card.context_length = min(engine.context for engine in self._pair.values())
        return card
