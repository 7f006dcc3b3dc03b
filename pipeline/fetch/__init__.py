"""The one home of HTTP to the open web: polite, safe, bounded, and always with an answer."""
