"""`segue report`: what a run learned and what it played, as one page."""
