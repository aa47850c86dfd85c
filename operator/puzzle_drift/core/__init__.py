"""Pure: records in, statistics and a report out. No input or output, no clock."""
