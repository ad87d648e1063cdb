"""ReferenceBuilder: what new songs are measured against."""
