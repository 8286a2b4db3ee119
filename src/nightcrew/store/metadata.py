"""The one collection that every table of ours is declared on."""

from sqlalchemy import BigInteger, Integer, MetaData

metadata = MetaData(
    # Constraints need names that do not depend on the database, or a migration could not change them.
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

BIG_KEY = BigInteger().with_variant(Integer, "sqlite")
"""The type of a key that is counted up: SQLite counts up integers only."""
