"""The state database: one repository module a noun, and the ledger. The only package that imports SQLAlchemy."""
