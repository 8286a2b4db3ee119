"""The crew's backlog, handoffs, memory, report and inbox as MCP tools for editors and agents. Decides nothing."""
