"""What operator, monitor, drift worker and model read in the same way: durations, and settings from the environment.

Below all of them: it knows none of them, does no input or output, and nothing comes in here that only one of them
needs (docs/adr/0017-settings-are-read-in-one-place.md).
"""
