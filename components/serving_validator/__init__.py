"""ServingValidator: does the model serve, and is what it plays fit to be heard?"""
