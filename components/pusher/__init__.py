"""Pusher: a blessed model becomes a version that servers see whole or not at all."""
