"""Game days: faults at random times, one after the other, while work goes on as it does when nobody drills."""
