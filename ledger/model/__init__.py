"""What an entry is: events, plans and outcomes as canonical bytes. Pure: no clock, no disk."""
