"""Statistics over the passes of a battery: intervals, a control by shuffled answers, and their table."""
