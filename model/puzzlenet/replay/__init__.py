"""Labelled pieces shown again: to the challenger that has no traffic yet, and to the champion beside it.

Runs in a short Job of the operator's (`puzzlenet replay`), with a clock on it: nothing here loads torch.
"""

REPLAY_HEADER = "Puzzlenet-Replay"
"""On a request: the piece was on the line before. It is answered as any other, and neither recorded nor counted."""
