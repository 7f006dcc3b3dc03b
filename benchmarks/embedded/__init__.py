"""Training and evaluation of the embedded encoder: `python -m benchmarks.embedded --help`."""
