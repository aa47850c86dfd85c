"""The database: SQLite or PostgreSQL through the same statements.

One writer at a time, everywhere: SQLite takes its lock with BEGIN IMMEDIATE, PostgreSQL an advisory lock for the
transaction, also between several monitors. So "is it there already?" may be asked before inserting, and a label and its
prediction that arrive at the same moment cannot miss each other.
"""
