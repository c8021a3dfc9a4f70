"""Messages worth reading: the traffic of the day so far, and what happened in a day."""
