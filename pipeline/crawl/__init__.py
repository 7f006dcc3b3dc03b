"""Pages to candidate pairs: HTML, WARC and WAT archives, saved pages, and a bounded crawl."""
