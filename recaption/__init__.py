"""Captioners and translators: they add captions and never overwrite one."""
