"""Findings to code scanning: SARIF, packed, at the ticket's branch; the same upload again takes the place of the first.

Source: https://docs.github.com/en/rest/code-scanning/code-scanning#upload-an-analysis-as-sarif-data (gzip, then base64;
at most 10 MB packed, 25,000 results a run) and "SARIF support for code scanning" (``runAutomationDetails.id`` is the
category: a newer analysis of the same commit, tool and category replaces the older one).
"""

import base64
import gzip
import json
from typing import Any

from pydantic import TypeAdapter

from nightcrew.checks.sarif_write import write_sarif
from nightcrew.crew.forge.repository import Answered, Forge
from nightcrew.model.document import Document
from nightcrew.model.finding import Finding

MOST_RESULTS = 5_000
"""GitHub shows the first 5,000 of a run."""


class Upload(Document):
    """Findings on commit ``head`` of branch ``branch``."""

    branch: str
    head: str
    ticket: str
    findings: tuple[Finding, ...] = ()


class _Taken(Answered):
    id: str | None = None


_TAKEN: TypeAdapter[_Taken] = TypeAdapter(_Taken)


def bring(forge: Forge, upload: Upload) -> dict[str, Any]:
    """Upload the findings; gives GitHub's ``id`` of it. Raises ForgeAway, ForgeRefused (403: code scanning is off)."""
    body = {"commit_sha": upload.head, "ref": f"refs/heads/{upload.branch}", "sarif": packed(upload)}
    # Uploading twice replaces, so that a lost answer may be asked for again.
    taken = forge.api.post(forge.at("/code-scanning/sarifs"), body, _TAKEN, repeatable=True)
    return {"id": taken.id if taken else None}


def packed(upload: Upload) -> str:
    """The SARIF log as the request carries it; the same findings give the same text."""
    log = json.loads(write_sarif(upload.findings[:MOST_RESULTS]))
    if not log["runs"]:  # nothing found is an answer too: it closes what was found on an earlier commit
        log["runs"] = [{"tool": {"driver": {"name": "nightcrew"}}, "results": []}]
    for run in log["runs"]:
        run["automationDetails"] = {"id": f"nightcrew/{upload.ticket}/"}
        for result in run["results"]:
            # GitHub tells alerts apart by partialFingerprints, and takes our fingerprint as well as its own.
            own = result.pop("fingerprints", {}).get("nightcrew/v1", "")
            result["partialFingerprints"] = {"nightcrew/v1": own}
    data = json.dumps(log, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return base64.b64encode(gzip.compress(data, mtime=0)).decode()
