"""Records of predictions for the monitor: made beside serving, never in its way.

The thread that answers builds a small object and appends it to a bounded queue; statistics, JSON and HTTP happen in
one background thread. KServe's payload logger is not used: it copies whole bodies, drops without counting, and can
take the serving container down with it.
"""
