"""What lies in the bucket beside the versions: data sets, golden sets, decisions, runs; and what is read from it all."""
