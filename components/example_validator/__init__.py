"""ExampleValidator: a run stops when its windows are not what they must be."""
