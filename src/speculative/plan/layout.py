"""Places servers on GPUs."""

from __future__ import annotations

from msgspec import Struct, structs

from speculative.errors import UsageError
from speculative.plan.profile import Profile, ServerProfile


class Layout(Struct, frozen=True):
    """Servers, each with the number of its GPU.

    `sharing`: the way in which servers share a GPU, a key of `Profile.shared`. `about`: the layout in words.
    """

    servers: tuple[tuple[str, int], ...]
    about: str
    sharing: str = "plain"

    @property
    def gpus(self) -> int:
        return 1 + max(gpu for _, gpu in self.servers)

    @property
    def roles(self) -> frozenset[str]:
        return frozenset(role for role, _ in self.servers)

    def factor(self, profile: Profile, role: str, gpu: int) -> float:
        """Returns how many times longer a server's steps take beside a busy neighbour."""
        if sum(other == gpu for _, other in self.servers) < 2:
            return 1.0
        if self.sharing not in profile.shared:
            known = ", ".join(profile.shared) or "no way of sharing"
            raise UsageError(f"profile {profile.name} must tell how servers share a GPU ({self.sharing}), got {known}; measure that too")
        return profile.shared[self.sharing].small if role == "small" else profile.shared[self.sharing].big

    def fit(self, profile: Profile, role: str, gpu: int) -> ServerProfile:
        """Returns the profile of a server. On a shared GPU it has half of its cache."""
        found = profile.server(role)
        mates = sum(other == gpu for _, other in self.servers)
        return structs.replace(found, cache_tokens=max(1, found.cache_tokens // mates))


LAYOUTS = {
    "a": Layout((("big", 0), ("big", 1)), "two replicas of big on two GPUs"),
    "c": Layout((("big", 0), ("small", 1)), "big and small on a GPU each"),
    "d": Layout((("big", 0),), "big alone on one GPU"),
    "e": Layout((("big", 0), ("small", 0)), "both on one GPU"),
    "e-mps": Layout((("big", 0), ("small", 0)), "both on one GPU with MPS", "mps"),
    "f": Layout((("big", 0), ("big", 1), ("small", 1)), "two replicas of big, small beside one of them with MPS", "mps"),
}
"""The layouts by their names."""

MORE = {"big": "a further replica of big", "judge": "a judge"}
"""The servers that a name may add to a layout, each on a GPU of its own: `c+judge`."""


def find_layout(name: str) -> Layout:
    """Returns a layout by its name. Raises `UsageError`."""
    base, *more = name.split("+")
    if base not in LAYOUTS or not MORE.keys() >= set(more):
        known = "; ".join(f"{key}: {layout.about}" for key, layout in LAYOUTS.items())
        extra = " and ".join(f"+{role} ({about})" for role, about in MORE.items())
        raise UsageError(f"layout must be one of {known}, got {name!r}; {extra} may follow its name")
    found = LAYOUTS[base]
    for role in more:
        found = structs.replace(found, servers=(*found.servers, (role, found.gpus)), about=f"{found.about}, {MORE[role]} on its own")
    return found
