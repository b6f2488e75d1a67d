"""How many lines of batches are sent on their way at once, in this process, for one model.

More would only wait where they are answered (backends/lines.py), and be lost with the process that is killed; fewer
would leave an engine idle.
"""

from homeport.gateway.endpoints import Endpoint
from homeport.gateway.routing import Router

#: Where nobody says: of upstreams, and of models of this machine that are not loaded or take any number.
AT_ONCE = 32


class Widths:
    def __init__(self, router: Router, chosen: int | None = None) -> None:
        """chosen: by the operator, for every model."""
        self._router = router
        self._chosen = chosen

    def lines_at_once(self, endpoint: Endpoint, name: str) -> int:
        """name: as it is asked for. Of several targets the widest counts. It may change while models are loaded.

        Raises ModelNotFound.
        """
        targets = self._router.targets(name)
        if self._chosen is not None:
            return self._chosen
        return max(_width(target.backend.lines_at_once(endpoint.capability), target.local) for target in targets)


def _width(known: int | None, local: bool) -> int:
    """A model of this machine knows best; what an upstream has are connections, of which batches do not need all."""
    if known is None:
        return AT_ONCE
    return known if local else min(known, AT_ONCE)
