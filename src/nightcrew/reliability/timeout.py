"""A time limit on a call that knows none itself."""

import contextvars
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from nightcrew.reliability.errors import CallTimeoutError

_idle: "SimpleQueue[_Thread]" = SimpleQueue()
_abandoned = 0
_lock = threading.Lock()


def abandoned() -> int:
    """How many calls have passed their limit and still run: Python can leave a thread alone, but not end it."""
    return _abandoned


def call_within(seconds: float, function: Callable[..., Any], arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Call in another thread and wait at most ``seconds``. Raises CallTimeoutError; the call itself then runs on."""
    thread = _take()
    ended = thread.begin(function, arguments, named)
    if not ended.wait(seconds) and thread.leave():
        raise CallTimeoutError(f"{getattr(function, '__name__', 'the call')} did not end within {seconds:g} seconds")
    failed, value = thread.answer
    thread.answer = (False, None)
    _idle.put(thread)
    if failed:
        raise value
    return value


def _take() -> "_Thread":
    try:
        return _idle.get_nowait()
    except Empty:
        return _Thread()


class _Thread:
    """A thread that works one call at a time and is used again, unless it was left alone."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Any] = SimpleQueue()
        self.answer: tuple[bool, Any] = (False, None)
        self._left = False
        self._ended = threading.Event()
        threading.Thread(target=self._serve, name="nightcrew-timeout", daemon=True).start()

    def begin(self, function: Callable[..., Any], arguments: tuple[Any, ...], named: dict[str, Any]) -> threading.Event:
        self._ended = threading.Event()
        self._jobs.put((contextvars.copy_context(), function, arguments, named))
        return self._ended

    def leave(self) -> bool:
        """Leave it alone; False if the call has ended just now."""
        global _abandoned
        with _lock:
            if self._ended.is_set():
                return False
            self._left = True
            _abandoned += 1
            return True

    def _serve(self) -> None:
        global _abandoned
        while True:
            context, function, arguments, named = self._jobs.get()
            try:
                self.answer = (False, context.run(function, *arguments, **named))
            except BaseException as error:
                self.answer = (True, error)
            with _lock:
                self._ended.set()
                if self._left:
                    _abandoned -= 1
                    return
