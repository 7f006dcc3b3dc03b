"""A real site from crawl to export: GIMP's manual in two languages, on loopback."""
