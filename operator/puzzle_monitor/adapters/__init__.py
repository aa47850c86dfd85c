"""The outside: a database through SQLAlchemy, pictures in a folder or in S3. One system to a module."""
