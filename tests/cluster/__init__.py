"""A real Kubernetes for tests and for the demo: `python -m tests.cluster up`.

Which cluster is used depends on what the machine has (see `choice`): one that the user names, kind where Docker
answers, a node of our own on Linux with root, the control plane alone on Linux without root. All that a cluster
of ours owns stands in one folder (see `folders`), so that `down` can take away exactly what `up` made.
"""
