"""What lies in the bucket beside the versions: data sets, golden sets, decisions; and what is read from it all."""
