"""What a person sees while a cluster comes up: steps with their seconds on standard error, errors as one sentence."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class ClusterError(Exception):
    """Something a person must act on; the message says what happened, to what, and what to do."""


def say(text: str) -> None:
    """Print one line of progress; standard output stays free for results."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Announce `what` and, when it is done, the seconds that it took."""
    begun = time.monotonic()
    say(f"  {what} ...")
    try:
        yield
    except BaseException:
        say(f"  {what}: failed after {time.monotonic() - begun:.1f} s")
        raise
    say(f"  {what}: {time.monotonic() - begun:.1f} s")
