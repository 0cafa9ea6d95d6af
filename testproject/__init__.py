"""A real site with one small app per domain: the demonstration, and the project of the tests."""
