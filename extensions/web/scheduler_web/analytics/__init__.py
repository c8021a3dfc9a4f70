"""Numbers about the site's traffic: an exact daily roll-up, kept up to date from the application's events."""
