"""Whether the pictures of a line are what they should be: summaries of them by minute, what is usual, what is wrong."""
