"""The models that the service offers: one for each method and each preset."""

from __future__ import annotations

from speculative.errors import UnknownNameError, UnsupportedMethodError
from speculative.methods.registry import names
from speculative.pair import Pair
from speculative.serve.completion_writer import encode
from speculative.serve.replies import ModelCard, ModelList
from speculative.serve.request import OWNER, find_preset, innermost
from speculative.settings import Settings


class ModelCatalog:
    """Describes the models, once, since the list holds the schema of every method.

    `pair`: None while it loads. Until then every method is listed, without a context length.
    """

    def __init__(self, settings: Settings, created: int, pair: Pair | None) -> None:
        self._settings, self._created, self._pair = settings, created, pair
        cards = {name: self._card(name) for name in (*names(), *settings.presets)}
        self._cards = {name: card for name, card in cards.items() if card}
        self.page = encode(ModelList(list(self._cards.values())))

    def one(self, model: str) -> ModelCard:
        """Finds one model by its id. Raises `UnknownNameError`."""
        name = model.removeprefix(f"{OWNER}/")
        card = self._cards.get(self._settings.method if name == OWNER else name)
        if card is None:
            raise UnknownNameError("model", model[:256], [card.id for card in self._cards.values()])
        return card

    def _card(self, name: str) -> ModelCard | None:
        """Describes a model, or returns None for a method that the pair cannot serve."""
        method = find_preset(self._settings, name).build()
        kind = type(innermost(method))
        about = {"method": method.full_name, "params": method.params, "about": kind.summary()}
        about |= {"append_only": method.text_is_final, "schema": kind.model_json_schema()}
        card = ModelCard(id=f"{OWNER}/{name}", created=self._created, owned_by=OWNER, speculative=about)
        if self._pair is not None:
            try:
                self._pair.check(method)
            except UnsupportedMethodError:
                return None
            card.max_model_len = card.context_length = min(engine.context for engine in self._pair.values())
        return card
