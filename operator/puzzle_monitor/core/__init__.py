"""The pure part: what a record is, how labels join predictions, what accuracy is, who may do how much. No I/O."""
