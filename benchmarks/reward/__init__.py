"""The shipped reward head: how it is made, and what it gains over the cosine."""
