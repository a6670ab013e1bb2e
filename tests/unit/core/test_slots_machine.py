"""The limits on syncs that run at once, against a plain model: a list of who waits, searched from the front."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from towline.core.slots import Limits, Request, Slots

KEYS = st.integers(0, 11)
GROUPS = 4


@dataclass
class Turn:
    """A group's place among those of its priority: whoever was served last goes behind the others."""

    priority: int
    group: int


class Fairness(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.slots = Slots(1)
        self.running: dict[int, Request] = {}
        self.waiting: list[Request] = []
        self.turns: list[Turn] = []
        self.forced: set[int] = set()

    @initialize(total=st.integers(1, 3), namespace=st.integers(0, 2), connector=st.integers(0, 2))
    def begin(self, total: int, namespace: int, connector: int) -> None:
        self.limits = Limits(total, namespace, connector)
        self.slots = Slots(self.limits)

    @rule(key=KEYS, priority=st.integers(0, 2))
    def asks(self, key: int, priority: int) -> None:
        waiting = next((one for one in self.waiting if one.key == key), None)
        request = waiting or Request(key, key % GROUPS, priority, f"n{key % 2}", f"c{key % 3}")
        granted = self.slots.ask(request)
        if key in self.running:
            assert granted
            return
        if waiting is None:
            self._queue(request)
        expected = self._first() == request
        assert granted == expected, f"{key}: {self._first()} goes first"
        if granted:
            self._serve(request)

    @rule(key=KEYS)
    def ends(self, key: int) -> None:
        self.slots.release(key)
        self.running.pop(key, None)
        self.forced.discard(key)
        self._leave(key)

    @rule(key=KEYS)
    def ran_before_a_restart(self, key: int) -> None:
        """It takes its slot whatever the limits say: it cannot be undone."""
        self.slots.hold(key, f"n{key % 2}", f"c{key % 3}")
        self._leave(key)
        if key not in self.running:
            self.running[key] = Request(key, key % GROUPS, 0, f"n{key % 2}", f"c{key % 3}")
            self.forced.add(key)

    @rule()
    def the_operator_restarts(self) -> None:
        self.slots = Slots(self.limits)
        for key, request in self.running.items():
            self.slots.hold(key, request.namespace, request.connector)
        self.waiting, self.turns = [], []

    # -- the model

    def _queue(self, request: Request) -> None:
        self.waiting.append(request)
        if not any((one.priority, one.group) == (request.priority, request.group) for one in self.turns):
            self.turns.append(Turn(request.priority, int(str(request.group))))

    def _leave(self, key: int) -> None:
        self.waiting = [one for one in self.waiting if one.key != key]
        present = {(one.priority, one.group) for one in self.waiting}
        self.turns = [one for one in self.turns if (one.priority, one.group) in present]

    def _serve(self, request: Request) -> None:
        self.running[int(str(request.key))] = request
        served = next(one for one in self.turns if (one.priority, one.group) == (request.priority, request.group))
        self.turns.remove(served)
        self.turns.append(served)
        self._leave(int(str(request.key)))

    def _first(self) -> Request | None:
        if len(self.running) >= self.limits.total:
            return None
        for turn in sorted(self.turns, key=lambda one: one.priority):  # stable: in their turn
            request = next(one for one in self.waiting if (one.priority, one.group) == (turn.priority, turn.group))
            if not self._kept(request):
                return request
        return None

    def _kept(self, request: Request) -> bool:
        same_namespace = sum(one.namespace == request.namespace for one in self.running.values())
        same_connector = sum(one.connector == request.connector for one in self.running.values())
        limits = self.limits
        return bool(
            (limits.namespace and same_namespace >= limits.namespace)
            or (limits.connector and same_connector >= limits.connector)
        )

    # -- what always holds

    @invariant()
    def the_next_one_is_the_one_of_the_model(self) -> None:
        first = self._first()
        assert self.slots.next_in_line() == (first.key if first else None)

    @invariant()
    def limits_are_passed_by_nobody_who_asked(self) -> None:
        assert self.slots.active == len(self.running)
        assert self.slots.active <= max(self.limits.total, len(self.forced) + self.limits.total)

    @invariant()
    def everyone_who_waits_has_a_place_and_a_reason(self) -> None:
        assert self.slots.waiting == len(self.waiting)
        for one in self.waiting:
            place = self.slots.place(one.key)
            assert place is not None
            assert 1 <= place.position <= place.waiting == len(self.waiting)
            assert place.reason
        for key in self.running:
            assert self.slots.holds(key)
            assert self.slots.place(key) is None


def test_slots_are_given_as_a_plain_model_gives_them() -> None:
    run_state_machine_as_test(Fairness, settings=settings(max_examples=60, stateful_step_count=50, deadline=None))
