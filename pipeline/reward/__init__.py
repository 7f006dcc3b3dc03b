"""Reward models: preferences in, a head and its card out."""
