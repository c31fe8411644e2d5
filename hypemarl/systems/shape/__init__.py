"""An obstacle whose boundary the agents move."""
