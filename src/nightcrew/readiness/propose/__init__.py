"""What would make a pipeline fit for the night, as changes to its own source: proposed as a diff, never just written.

A contract from sample records, guards for calls that have none, and alert thresholds from a reference window. The
source is read, not run.
"""

from nightcrew.readiness.propose.proposal import Change, Proposal, accept, propose

__all__ = ["Change", "Proposal", "accept", "propose"]
