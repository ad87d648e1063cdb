"""`segue listen`: a blind test, the composer's music against the model's."""
