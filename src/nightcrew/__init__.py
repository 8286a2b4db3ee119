"""nightcrew runs AI work unattended, at 2 AM, and is trusted in the morning."""

__version__ = "0.1.0"
