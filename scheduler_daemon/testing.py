"""The kit for extension authors: a pytest plugin, installed with the package."""
