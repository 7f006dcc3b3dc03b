"""Tuning a dual encoder on trusted pairs, to score others with it."""
