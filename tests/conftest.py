"""What all tests share: the fixtures of the real clusters."""

pytest_plugins = ["tests.cluster.fixtures"]
