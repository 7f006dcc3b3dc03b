"""Where pairs come from: one module per kind of source, all behind the same interface."""
