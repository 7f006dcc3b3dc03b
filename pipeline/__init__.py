"""Turn crawls into training sets of image–text pairs: ingest, score, select, export."""
