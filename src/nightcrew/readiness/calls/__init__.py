"""External calls, found by reading code: nothing is imported or run.

``find_calls(root)`` reads a folder (or the files named), ``own_files(entry)`` names the files that a program is made
of. A call counts as guarded only if every way to it that can be seen goes through a guard.
"""

from nightcrew.readiness.calls.files import own_files, python_files
from nightcrew.readiness.calls.finding import find_calls
from nightcrew.readiness.calls.found import Calls, ExternalCall, Kind, Unread

__all__ = ["Calls", "ExternalCall", "Kind", "Unread", "find_calls", "own_files", "python_files"]
