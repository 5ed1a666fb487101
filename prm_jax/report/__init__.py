"""A run as one HTML file that needs no network, and its result table for the terminal."""
