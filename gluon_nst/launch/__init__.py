"""How a cluster comes to be: its scheduler, its workers, and who is let in."""
