"""Readers: what lies on disk becomes images and instances. One module a kind of source."""
