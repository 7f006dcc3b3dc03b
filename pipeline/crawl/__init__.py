"""Pages to candidate pairs: HTML, WARC and WAT archives and saved pages; nothing is fetched."""
