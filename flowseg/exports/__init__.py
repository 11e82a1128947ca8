"""Encoders: one a format, each from arrays to bytes or text; who calls them writes files whole."""
