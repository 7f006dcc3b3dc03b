"""The offline variants of the judges: what they are compared with, what they learn, and figures."""
