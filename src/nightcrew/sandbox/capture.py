"""What a command prints, kept within a cap: its beginning and its end."""

from collections import deque


class Capture:
    """Keeps the first and the last half of ``limit`` bytes of a stream."""

    def __init__(self, limit: int) -> None:
        self._head_limit = limit // 2
        self._tail_limit = limit - self._head_limit
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self._total = 0

    def add(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        self._total += len(data)
        room = self._head_limit - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if data:
            self._tail.append(data)
            self._tail_size += len(data)
            while self._tail_size - len(self._tail[0]) >= self._tail_limit:
                self._tail_size -= len(self._tail.popleft())

    @property
    def truncated(self) -> bool:
        """Whether bytes were dropped."""
        return self._total > self._head_limit + self._tail_limit

    def value(self) -> bytes:
        """What was kept, with a line that says how much is missing between the two parts."""
        tail = b"".join(self._tail)[-self._tail_limit :] if self._tail_limit else b""
        if not self.truncated:
            return bytes(self._head) + tail
        dropped = self._total - len(self._head) - len(tail)
        return bytes(self._head) + b"\n[... %d bytes left out ...]\n" % dropped + tail
