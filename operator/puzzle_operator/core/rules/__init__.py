"""The rules of a rollout, one theme to a file. Their order is policy and lives in `core/rollout.py`."""
