"""Questions that show what a score sees and what it can't; `pairmill probe` asks them."""
