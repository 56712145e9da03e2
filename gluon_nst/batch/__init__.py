"""Collections: manifest, plan, dispatch, runners, journal, report."""
