"""How fast the ledger is appended to and verified: entries a second on SQLite, 300,000 entries by default."""

import sys
import tempfile
import time
from pathlib import Path

from sqlalchemy import insert

from nightcrew.model.canonical import canonical_json
from nightcrew.model.clock import isoformat, system_clock
from nightcrew.model.entry import GENESIS, Entry, entry_hash, seal
from nightcrew.store import ledger, schema
from nightcrew.store.store import Store

KEY = b"k" * 32


def fill(store: Store, count: int) -> None:
    """Entries such as tickets make, put in bulk."""
    prev, made = GENESIS, []
    at = isoformat(system_clock())
    for seq in range(1, count + 1):
        text = canonical_json({"digest": f"{seq:064x}", "from": "open", "reason": "next", "to": "building"}).decode()
        content = (seq, at, "build", "ticket.start", f"ticket:T-{seq:04d}", text, prev)
        hashed = entry_hash(*content)
        made.append(Entry(*content, hashed, seal(KEY, hashed))._asdict())
        prev = hashed
    with store.begin() as tx:
        tx.connection.execute(insert(schema.ledger), made)


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(f"sqlite:///{Path(folder) / 'bench.db'}", seal_key=KEY)
        fill(store, count)
        began = time.perf_counter()
        with store.begin() as tx:
            for number in range(2000):
                ledger.append(tx, actor="bench", action="bench.append", subject=f"bench:{number}", data={"n": number})
        print(f"append  {2000 / (time.perf_counter() - began):>10,.0f} entries/s in one transaction")
        for _ in range(3):
            began = time.perf_counter()
            with store.read() as tx:
                checked, problems = ledger.verify(tx)
            print(f"verify  {checked / (time.perf_counter() - began):>10,.0f} entries/s ({len(problems)} problems)")
        store.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300_000)
