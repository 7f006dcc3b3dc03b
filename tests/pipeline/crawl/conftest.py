"""Crawls of these tests reach loopback alone, and what does not fails the test."""

from tests.fetch.conftest import leaks, server

__all__ = ["leaks", "server"]
