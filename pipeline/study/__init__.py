"""`segue study`: an experiment of the paper's as a run that anybody can repeat."""
