"""Where sealed entries lie in this process: bounded in all and for each caller, every step O(1)."""

from collections import OrderedDict
from collections.abc import Callable

OWNER_BYTES = 16
NAME_BYTES = 16
"""128 bits of a keyed hash: nobody finds another one by chance."""


class MemoryStore:
    """Sealed entries by name; the least recently used leaves first.

    An entry is one ``bytes`` object and so is a caller's list of names: with ten thousand callers, what
    Python adds to each object is what counts.

    Args:
        most: entries in all.
        most_each: entries of one owner.
    """

    def __init__(self, most: int, most_each: int) -> None:
        self._most = most
        self._most_each = most_each
        self._entries: OrderedDict[bytes, bytes] = OrderedDict()
        self._owned: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def owners(self) -> int:
        """How many callers have entries."""
        return len(self._owned)

    def has(self, name: bytes) -> bool:
        """Whether there is an entry called ``name``, which does not count as used."""
        return name in self._entries

    def get(self, name: bytes) -> bytes | None:
        """The entry called ``name``, which counts as used."""
        entry = self._entries.get(name)
        if entry is None:
            return None
        self._entries.move_to_end(name)
        return entry[OWNER_BYTES:]

    def put(self, name: bytes, owner: bytes, entry: bytes) -> int:
        """Keep ``entry``; push out ``owner``'s oldest and the least recently used of all, where there are too many.

        Returns:
            How many were pushed out.
        """
        self.drop(name)
        before = len(self._entries)
        owned = self._owned.get(owner, b"")
        if len(owned) >= self._most_each * NAME_BYTES:
            self.drop(owned[:NAME_BYTES])
        if len(self._entries) >= self._most:
            self.drop(next(iter(self._entries)))
        self._entries[name] = owner + entry
        self._owned[owner] = self._owned.get(owner, b"") + name
        return before + 1 - len(self._entries)

    def drop(self, name: bytes) -> None:
        """Forget one entry, if it is there."""
        entry = self._entries.pop(name, None)
        if entry is None:
            return
        owner = entry[:OWNER_BYTES]
        owned = self._owned[owner]
        rest = b"".join(each for each in _names(owned) if each != name)
        if rest:
            self._owned[owner] = rest
        else:
            del self._owned[owner]

    def drop_where(self, matches: Callable[[bytes, bytes], bool]) -> list[bytes]:
        """Forget all entries whose owner and content match; looks at every one. Returns their names."""
        names = [name for name, entry in self._entries.items() if matches(entry[:OWNER_BYTES], entry[OWNER_BYTES:])]
        for name in names:
            self.drop(name)
        return names

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self._owned.clear()


def _names(owned: bytes) -> list[bytes]:
    return [owned[start : start + NAME_BYTES] for start in range(0, len(owned), NAME_BYTES)]
