"""The version that durable work belongs to.

DBOS runs a workflow only on the application version that started it, and by default that version is a hash of the
code, so that every edit would strand what is queued and running. Ours is this string. Raise the number, by hand, in
the change that makes a workflow's recorded steps no longer fit its code: steps added, removed, renamed or reordered in
a workflow that can be in progress during an upgrade. Then either drain (let the old version finish before upgrading) or
carry over (``Engine.carry_over``, when the new code can go on from the old steps).
"""

APPLICATION_NAME = "nightcrew"
"""The owner written on every row of ours in DBOS's tables."""

APPLICATION_VERSION = "nightcrew-1"
"""The version of our workflows' recorded steps; see the module's text for when to change it."""
