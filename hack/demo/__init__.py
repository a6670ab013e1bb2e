"""The demo: a cluster, Towline from its chart, simulated vendors, and their data in a database."""
