"""Shadow replay: a challenger is shown labelled pieces before it gets traffic (docs/adr/0019)."""
