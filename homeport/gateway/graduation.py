"""Graduation: projects that have no tier of their own rise by what the organization has paid, and since when.

What was paid is what the ledger says that requests have cost; the figures of the tiers are in tiers.toml. Nobody falls.
"""

import logging
from decimal import Decimal

from homeport import clock
from homeport.gateway.accounts import Accounts
from homeport.gateway.tiers import LADDER, Tiers
from homeport.store.usage_rows import UsageRows

log = logging.getLogger("homeport.tiers")

DAY = 86_400


class Graduation:
    def __init__(self, accounts: Accounts, tiers: Tiers, rows: UsageRows) -> None:
        self._accounts = accounts
        self._tiers = tiers
        self._rows = rows
        self._first: int | None = None

    async def look(self) -> None:
        """Give the accounts the tier that is earned by now. Raises Unavailable."""
        before = self._accounts.tier
        if before == LADDER[-1]:
            return
        if self._first is None:
            self._first = await self._rows.first_paid_at()
        if self._first is None:
            return
        paid = Decimal(await self._rows.spent()).scaleb(-12)
        earned = self._tiers.earned(paid, (clock.now() - self._first) / DAY)
        if earned != before:
            log.info("projects without a tier of their own are in tier %s now", earned)
            self._accounts.tier = earned
            await self._accounts.load()
