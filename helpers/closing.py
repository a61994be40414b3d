"""What is closed when its `with` block is left: processes, connections, things in a cluster."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T", bound="Closing")


class Closing:
    """Has a `close()`, which leaving its `with` block calls, whether or not the block failed."""

    def close(self) -> None:
        """Gives back what the object holds. Closing it again does nothing."""
        raise NotImplementedError

    def __enter__(self: T) -> T:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
