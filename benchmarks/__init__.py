"""What Segue claims about speed, measured beside its peers in one run."""
