"""Pages for people: their plots, their style, and how a page is put together."""
