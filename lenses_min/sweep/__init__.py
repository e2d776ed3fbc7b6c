"""Many models, each in a process of its own: here or on Ray."""
