"""Decisions that cannot be forged: signers, the trust anchor, and the one check that admits.

No database here: what is stored is bytes, kept by whoever calls, and verified again each time it is used.
"""

from nightcrew.approvals.decide import decision_statement, fresh_nonce, group_id, member
from nightcrew.approvals.passphrase import PassphraseSigner, ScryptParameters, SealedKey, create_key, open_key
from nightcrew.approvals.passphrase_source import read_passphrase
from nightcrew.approvals.pending import Pending
from nightcrew.approvals.reviewer import Reviewer
from nightcrew.approvals.service import ServiceSigner, service_signer
from nightcrew.approvals.signer import Signer, sign_statement
from nightcrew.approvals.trust import TrustAnchor
from nightcrew.approvals.verdict import sign_verdict, verify_verdict
from nightcrew.approvals.verify import Approval, verify_approval

__all__ = [
    "Approval",
    "PassphraseSigner",
    "Pending",
    "Reviewer",
    "ScryptParameters",
    "SealedKey",
    "ServiceSigner",
    "Signer",
    "TrustAnchor",
    "create_key",
    "decision_statement",
    "fresh_nonce",
    "group_id",
    "member",
    "open_key",
    "read_passphrase",
    "service_signer",
    "sign_statement",
    "sign_verdict",
    "verify_approval",
    "verify_verdict",
]
