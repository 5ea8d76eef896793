"""Matched training studies: arms x seeds with the same weights, batches and nested masks."""
