"""Records of predictions for the monitor: made beside serving, never in its way.

The thread that answers builds a small object and appends it to a bounded queue (`recorder`); statistics, JSON and HTTP
happen in a process of its own (`process`, `outbox`). KServe's payload logger is not used: it copies whole bodies, drops
without counting, and can take the serving container down with it.
"""
