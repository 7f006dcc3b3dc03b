"""Watermarks and logos that are drawn on pictures, to learn from and to measure with."""
