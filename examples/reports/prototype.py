"""Report drafting, as it stood in a notebook: a language model writes a summary, and it goes out."""

import random

from anthropic import Anthropic

MODEL = "claude-sonnet-4-5"


def incidents(count, seed=7):
    """Made with a seed: logs of incidents, now and then a very long one."""
    rng = random.Random(seed)
    lines = ("timeout calling billing", "retry succeeded", "queue depth 4200", "deploy finished", "disk at 91 %")
    for number in range(count):
        size = 60_000 if number % 10 == 9 else rng.randrange(5, 40)
        log = "\n".join(f"02:{rng.randrange(60):02d} {rng.choice(lines)}" for _ in range(size))
        yield {"id": f"incident-{seed}-{number:04d}", "service": rng.choice(("billing", "search")), "log": log}


def draft(log):
    """A summary for the status page."""
    client = Anthropic(max_retries=0, timeout=30)
    answer = client.messages.create(
        model=MODEL,
        max_tokens=500,
        messages=[{"role": "user", "content": f"Summarise this incident for our status page:\n\n{log}"}],
    )
    return answer.content[0].text


if __name__ == "__main__":
    for incident in incidents(3):
        print(draft(incident["log"]))
