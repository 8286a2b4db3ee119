"""The brain without a model: it does what tools can do truly, and says honestly what it cannot."""

import sys
from collections import Counter

from nightcrew.brains.protocol import Answer, Task
from nightcrew.model.finding import Category
from nightcrew.sandbox import Completed


class MechanicalBrain:
    """Runs a ticket's own command, and a fixer for lint findings that it covers. One action is one turn."""

    name = "mechanical"

    def work(self, task: Task) -> Answer:
        """Work the ticket; what no tool can do is answered as unfinished, with the reason."""
        if task.ticket.command:
            return self._command(task, task.ticket.command)
        fixable = sorted({finding.rule for finding in task.findings if _is_fixable(finding.category, finding.fixable)})
        if fixable:
            return self._autofix(task, fixable)
        others = "no other brain could work it" if task.context.extra else "no model is configured"
        return Answer(
            finished=False,
            done=f"Nothing: {others}, the ticket has no command, and no fixer covers it.",
            next="Configure a brain for the build agent in nightcrew.toml, give the ticket a --command, or put "
            f"finished work on the branch nightcrew/{task.ticket.id}.",
        )

    def _command(self, task: Task, command: str) -> Answer:
        task.turns.charge("command")
        # The command is the user's own text, written as a shell line; agents cannot file tickets with a command.
        ended = task.run(["/bin/sh", "-c", command])
        if ended.ok:
            return Answer(True, f"Ran the ticket's command: `{command}`.\n\n{_printed(ended)}")
        how = (
            "was stopped"
            if ended.stopped
            else "ran out of time"
            if ended.timed_out
            else f"ended with {ended.returncode}"
        )
        return Answer(
            False, f"Ran the ticket's command `{command}`; it {how}.\n\n{_printed(ended)}", "Mend the command."
        )

    def _autofix(self, task: Task, rules: list[str]) -> Answer:
        task.turns.charge("autofix")
        argv = [sys.executable, "-P", "-m", "ruff", "check", "--no-cache", "--fix", "--exit-zero", "--quiet"]
        ended = task.run([*argv, "--select", ",".join(rules), "."])
        if not ended.ok:
            return Answer(False, f"The fixer could not run.\n\n{_printed(ended)}", "See what it printed.")
        counts = Counter(finding.rule for finding in task.findings)
        listed = ", ".join(f"{rule} ({counts[rule]})" for rule in rules)
        return Answer(True, f"Applied ruff's safe fixes for {listed}.", decisions=(f"safe fixes only, for {listed}",))


def _is_fixable(category: Category, fixable: bool) -> bool:
    return category is Category.LINT and fixable


def _printed(ended: Completed) -> str:
    return f"It printed:\n\n{_indented(ended.tail())}" if ended.tail() else "It printed nothing."


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
