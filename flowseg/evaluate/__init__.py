"""Predictions against truth: a score for each image, for groups of images, and for all."""

from flowseg.evaluate.comparison import compare
from flowseg.evaluate.records import CocoScore, ImageScore, Scores, Summary

__all__ = ["CocoScore", "ImageScore", "Scores", "Summary", "compare"]
