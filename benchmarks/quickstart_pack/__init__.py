"""Builds configs/quickstart: a small pack of captioned pictures with faults planted on purpose."""
