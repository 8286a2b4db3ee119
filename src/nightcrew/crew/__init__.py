"""The agent team: plans, sessions, handoffs, the human gate, and one night from start to morning report."""
