"""A pool's database as somebody changes it who also knows how its rows are sealed."""

import sqlite3
from contextlib import closing

from counterground.construction.pool._database import _SEALED  # what each digest is of
from counterground.files import row_digest


def change_pool(file, *statements: str) -> None:
    """Run statements of SQL on ``decisions.sqlite``, and give all rows the digests of their values."""
    with closing(sqlite3.connect(file)) as raw:
        raw.create_function("row_digest", -1, row_digest)
        (guard,) = raw.execute("SELECT sql FROM sqlite_master WHERE name = 'decision_no_update'").fetchone()
        raw.execute("DROP TRIGGER decision_no_update")
        for statement in statements:
            raw.execute(statement)
        for table, columns in _SEALED.items():
            there = {row[1] for row in raw.execute(f"PRAGMA table_info({table})")}
            if there.issuperset({*columns, "digest"}):
                names = ", ".join(f'"{name}"' for name in columns)
                raw.execute(f"UPDATE {table} SET digest = row_digest({names})")
        raw.execute(guard)
        raw.commit()
