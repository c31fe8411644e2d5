"""The yardstick: adjoints of the plants, open-loop optima, and the bridge to torch."""
