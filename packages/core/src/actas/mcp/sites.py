"""Which site serves: the swap of one for another, and the end of those that were swapped out."""

import asyncio

from actas.mcp.site import Site

_MOST_RETIRING = 3
"""Sites that may still be finishing calls while another reload begins."""


class Sites:
    """The site that serves now, and those that still finish what they began.

    Args:
        first: serves until it is replaced.
    """

    def __init__(self, first: Site) -> None:
        self.current = first
        self._retiring: dict[asyncio.Task[None], Site] = {}

    async def replace(self, site: Site) -> None:
        """Serve from ``site`` from now on; the one before finishes its calls and is closed, in the background.

        Returns at once, unless too many are at their end already.
        """
        retired, self.current = self.current, site
        task = asyncio.create_task(retired.retire())
        self._retiring[task] = retired
        task.add_done_callback(self._retiring.pop)
        if len(self._retiring) > _MOST_RETIRING:
            await asyncio.wait(list(self._retiring), return_when=asyncio.FIRST_COMPLETED)

    def cut_off(self) -> None:
        """End all calls that run, on whichever site; each is answered."""
        for site in (self.current, *self._retiring.values()):
            site.in_flight.end()

    async def close(self) -> None:
        """Release everything. May be called twice."""
        if self._retiring:
            await asyncio.wait(list(self._retiring))
        await self.current.close()
