"""What runs inside a sandboxed child before its command: started as a program of its own, never imported by nightcrew.

It runs as ``python -I -S``, with this package alone on its path: it imports only the cheapest modules of the standard
library (``_signal`` rather than ``signal``, ``marshal`` rather than ``json``, no ``typing``), because every command
pays for them.
"""
