"""The version of SPEC.md that this code implements; it rises whenever a mask bit moves."""

SPEC_VERSION = 1
