"""Book a trip: car, hotel and flight in parallel, undone when one of them fails."""
