"""The review page and the line page: static files that ask the API for everything they show."""
