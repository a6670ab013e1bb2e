"""What the end of a pod or a Job means, and what a result has to be like to be believed."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.core.build import NOW, SETTINGS, exit_code, result

from towline.contract import EXIT_CODES, RunResult
from towline.core.attempts import Kind, Outcome, Waiting, counts, observe, retry_at
from towline.core.pods import JobFacts, PodFacts, before_suspension, job_facts, newest, pod_facts
from towline.core.results import Expected, Unreadable, parse_result, printable

SYNC = "uid-acme-prod-m-1"
CREATED = NOW - timedelta(seconds=30)


def job(created: Any = CREATED, **conditions: tuple[str, str]) -> JobFacts:
    since = NOW - timedelta(seconds=60)
    return JobFacts("acme-prod-m-1-1", "j-1", created, {name: (*text, since) for name, text in conditions.items()})


def pod(**facts: Any) -> PodFacts:
    return PodFacts(**{"name": "pod", "uid": "p-1", "phase": "Running", **facts})


def ended(found: RunResult, **facts: Any) -> PodFacts:
    return pod(phase="Failed", exit_code=exit_code(found), message=found.model_dump_json(), **facts)


def outcome(job_facts: JobFacts | None, pod_facts: PodFacts | None) -> Outcome:
    found = observe(job_facts, pod_facts, SYNC, 1, NOW, SETTINGS)
    assert isinstance(found, Outcome), found
    return found


def waiting(job_facts: JobFacts | None, pod_facts: PodFacts | None) -> Waiting:
    found = observe(job_facts, pod_facts, SYNC, 1, NOW, SETTINGS)
    assert isinstance(found, Waiting), found
    return found


@pytest.mark.parametrize("reason", sorted(EXIT_CODES))
def test_a_result_that_fits_its_exit_code_is_believed(reason: str) -> None:
    found = outcome(job(), ended(result(reason, message="said so")))
    assert found.reason == reason
    assert found.message == "said so"


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("Completed", Kind.SUCCESS),
        ("PartiallyCompleted", Kind.SUCCESS),
        ("CredentialsRejected", Kind.PERMANENT),
        ("ConfigInvalid", Kind.PERMANENT),
        ("Unreachable", Kind.TRANSIENT),
        ("DestinationFull", Kind.TRANSIENT),
        ("RateLimited", Kind.RATE_LIMITED),
        ("SchemaMismatch", Kind.FAILED),
        ("PolicyViolation", Kind.POLICY),
        ("Superseded", Kind.SUPERSEDED),
    ],
)
def test_each_reason_has_its_class(reason: str, kind: Kind) -> None:
    assert outcome(job(), ended(result(reason))).kind is kind


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"sync_uid": "another"}, "another attempt"),
        ({"attempt": 2}, "another attempt"),
        ({"pod_uid": "p-2"}, "another pod"),
        ({"pod_uid": ""}, "another pod"),
    ],
)
def test_a_result_of_someone_else_is_not_accepted(changes: dict[str, Any], why: str) -> None:
    found = outcome(job(), ended(result("Completed").model_copy(update=changes)))
    assert (found.kind, found.reason) == (Kind.FAILED, "ResultInvalid")
    assert why in found.message


def test_success_cannot_be_claimed_with_another_exit_code() -> None:
    forged = pod(phase="Failed", exit_code=77, message=result("Completed").model_dump_json())
    assert outcome(job(), forged).reason == "ResultInvalid"


@pytest.mark.parametrize(
    "message",
    ["{", "[]", '"x"', '{"v":2}', "x" * 5000, '{"v":1,"extra":1}', "[" * 3000, "\x1b[31mred", '{"v":1,"attempt":-1}'],
)
def test_what_is_no_result_is_not_accepted(message: str) -> None:
    assert outcome(job(), pod(phase="Succeeded", exit_code=0, message=message)).reason == "ResultInvalid"


def test_nothing_that_a_terminal_obeys_comes_through() -> None:
    nasty = "a\x1b[31mb\x1b]0;title\x07c\r\nd\x00e\u202ef\x9bg"
    found = parse_result(
        result("Completed", message=nasty, streams=[{"name": "ho\x1b[2Jsts"}]).model_dump_json(),
        Expected(SYNC, 1, "p-1"),
        0,
    )
    assert isinstance(found, RunResult)
    assert found.message == "abc d e f g"
    assert found.streams[0].name == "hosts"


@given(st.text())
def test_printable_text_has_one_line_and_no_controls(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable() or all(not letter.isspace() or letter == " " for letter in shown)
    assert not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in shown)


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")), st.integers(0, 255))
def test_no_message_can_break_the_reader(message: str, code: int) -> None:
    assert isinstance(parse_result(message, Expected(SYNC, 1, "p-1"), code), RunResult | Unreadable | None)


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (64, "InvalidManifest", Kind.PERMANENT),
        (65, "SchemaMismatch", Kind.FAILED),
        (70, "ConnectorBug", Kind.FAILED),
        (75, "RetriesExhausted", Kind.TRANSIENT),
        (77, "CredentialsRejected", Kind.PERMANENT),
        (78, "ConfigInvalid", Kind.PERMANENT),
        (80, "PolicyViolation", Kind.POLICY),
        (1, "ResultLost", Kind.TRANSIENT),
        (137, "ResultLost", Kind.TRANSIENT),
        (0, "ResultLost", Kind.TRANSIENT),
    ],
)
def test_without_a_result_the_exit_code_speaks(code: int, reason: str, kind: Kind) -> None:
    found = outcome(job(), pod(phase="Failed", exit_code=code))
    assert (found.reason, found.kind, found.exit_code) == (reason, kind, code)


def test_out_of_memory_is_told_with_its_cure() -> None:
    found = outcome(job(), pod(phase="Failed", exit_code=137, ended_by="OOMKilled"))
    assert (found.reason, found.kind) == ("OutOfMemory", Kind.TRANSIENT)
    assert "more memory than its limit: raise spec.job.resources.limits.memory" in found.message
    limited = outcome(job(), pod(phase="Failed", exit_code=137, ended_by="OOMKilled", memory_limit="512Mi"))
    assert "its limit of 512Mi: raise" in limited.message


def test_what_a_run_wrote_before_it_ran_out_of_memory_is_counted() -> None:
    told = result("DestinationUnavailable", streams=[{"name": "hosts", "read": 12, "upserted": 10}])
    found = outcome(job(), ended(told, ended_by="OOMKilled"))
    assert (found.reason, found.kind) == ("OutOfMemory", Kind.TRANSIENT)
    assert found.result is not None
    assert found.result.streams[0].upserted == 10


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("Completed", Kind.SUCCESS),
        ("CredentialsRejected", Kind.PERMANENT),
        ("RateLimited", Kind.RATE_LIMITED),
        ("Superseded", Kind.SUPERSEDED),
    ],
)
def test_memory_that_something_else_in_the_container_took_does_not_change_how_the_run_ended(
    reason: str, kind: Kind
) -> None:
    found = outcome(job(), ended(result(reason), ended_by="OOMKilled"))
    assert (found.reason, found.kind) == (reason, kind)


def test_a_deadline_wins_over_a_pod_that_is_gone() -> None:
    late = job(FailureTarget=("DeadlineExceeded", "Job was active longer than specified deadline"))
    assert outcome(late, None).reason == "DeadlineExceeded"
    assert outcome(late, pod(gone=True)).reason == "DeadlineExceeded"
    assert outcome(late, pod(gone=True, exit_code=143)).reason == "DeadlineExceeded"


def test_a_deadline_is_recognised_before_the_job_says_so() -> None:
    late = JobFacts("j", "j-1", CREATED, {}, deadline=NOW - timedelta(seconds=1))
    assert outcome(late, pod(gone=True)).reason == "DeadlineExceeded"


def test_a_deadline_that_no_pod_lived_to_see_says_why() -> None:
    late = job(Failed=("DeadlineExceeded", ""))
    found = outcome(late, pod(phase="Pending", unschedulable="0/1 nodes are available: 1 Insufficient memory."))
    assert "no pod ran before the deadline: no node can run its pod" in found.message


def test_last_words_before_the_deadline_are_believed() -> None:
    late = job(Failed=("DeadlineExceeded", ""))
    found = outcome(late, ended(result("DeadlineExceeded", message="stopped in time"), gone=True))
    assert (found.reason, found.message) == ("DeadlineExceeded", "stopped in time")
    assert found.kind is Kind.TRANSIENT


@pytest.mark.parametrize(
    ("the_job", "the_pod"),
    [
        (job(), pod(phase="Failed", disruption="EvictionByEvictionAPI")),
        (job(), pod(gone=True)),
        (job(), pod(gone=True, exit_code=143)),
        (job(), pod(exit_code=137, ended_by="ContainerStatusUnknown", phase="Failed")),
        (job(Failed=("PodFailurePolicy", "Pod x has condition DisruptionTarget matching FailJob rule")), None),
        (job(), ended(result("DeadlineExceeded"), deleting_since=NOW)),
        (job(), pod(deleting_since=NOW - timedelta(minutes=5), disruption="DeletionByTaintManager")),
    ],
)
def test_interruptions_from_outside_do_not_count(the_job: JobFacts, the_pod: PodFacts | None) -> None:
    if the_pod is not None and the_pod.exit_code == 143:
        the_pod = pod(gone=True, exit_code=143, deleting_since=NOW)
    found = outcome(the_job, the_pod)
    assert found.kind is Kind.DISRUPTED
    assert not counts(found, 1)


@pytest.mark.parametrize(
    ("disruption", "patience"), [("DeletionByTaintManager", 15), ("EvictionByEvictionAPI", 90), ("", 90)]
)
def test_a_pod_that_does_not_go_is_given_up_sooner_when_its_node_is_silent(disruption: str, patience: int) -> None:
    asked = NOW - timedelta(seconds=patience)
    assert outcome(job(), pod(deleting_since=asked, disruption=disruption)).kind is Kind.DISRUPTED
    early = waiting(job(), pod(deleting_since=asked + timedelta(seconds=1), disruption=disruption))
    assert early.look_again == NOW + timedelta(seconds=1)


def test_the_time_to_stop_begins_when_the_deletion_was_asked_for() -> None:
    meta = {"name": "pod", "uid": "p", "deletionTimestamp": "2026-11-21T08:31:00Z", "deletionGracePeriodSeconds": 60}
    assert pod_facts({"metadata": meta}).deleting_since == NOW


def test_a_success_stays_one_even_if_the_pod_was_to_be_removed() -> None:
    found = outcome(job(), ended(result("Completed"), disruption="EvictionByEvictionAPI", gone=True))
    assert found.kind is Kind.SUCCESS


def test_a_job_that_was_deleted_counts_as_lost() -> None:
    assert outcome(None, None).reason == "ResultLost"
    assert outcome(None, ended(result("Completed"), gone=True)).kind is Kind.SUCCESS


def test_a_job_that_is_over_waits_a_moment_for_its_pods_last_words() -> None:
    just_now = JobFacts("j", "j-1", CREATED, {"Complete": ("CompletionsReached", "", NOW)})
    assert waiting(just_now, None).look_again == NOW + timedelta(seconds=10)
    assert outcome(job(Complete=("CompletionsReached", "")), None).reason == "ResultLost"


@pytest.mark.parametrize("why", ["ErrImagePull", "ImagePullBackOff"])
def test_an_image_that_cannot_be_pulled_fails_after_a_while(why: str) -> None:
    stuck = pod(phase="Pending", waiting=why, image="registry.example/x:1")
    assert "registry.example/x:1 cannot be pulled" in waiting(job(), stuck).message
    old = job(created=NOW - timedelta(seconds=SETTINGS.start_timeout_seconds))
    found = outcome(old, stuck)
    assert (found.reason, found.kind) == ("ImagePullFailed", Kind.FAILED)


def test_an_impossible_image_name_fails_at_once() -> None:
    assert outcome(job(), pod(phase="Pending", waiting="InvalidImageName")).reason == "ImagePullFailed"


def test_a_volume_that_does_not_come_has_its_own_reason() -> None:
    text = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."
    stuck = pod(phase="Pending", unschedulable=text)
    assert "its volume is not ready" in waiting(job(), stuck).message
    old = job(created=NOW - timedelta(seconds=SETTINGS.start_timeout_seconds))
    assert outcome(old, stuck).reason == "VolumeNotBound"


def test_a_full_cluster_is_waited_for() -> None:
    old = job(created=NOW - timedelta(hours=1))
    found = waiting(old, pod(phase="Pending", unschedulable="0/3 nodes are available: 3 Insufficient cpu."))
    assert "no node can run its pod" in found.message


def test_a_job_suspended_by_a_queue_counts_as_queued() -> None:
    assert waiting(job(Suspended=("JobSuspended", "")), None).reason == "Queued"
    preempted = replace(job(), suspended=True, deadline=NOW - timedelta(hours=1))
    assert waiting(preempted, None).reason == "Queued"
    stopped = ended(result("Disrupted"), gone=True)
    assert waiting(preempted, stopped).reason == "Queued", "no new attempt"
    assert before_suspension(replace(stopped, created=CREATED), replace(job(), started=NOW))
    assert not before_suspension(replace(stopped, created=NOW), replace(job(), started=NOW))


def test_a_job_without_a_pod_is_explained_after_a_minute() -> None:
    assert waiting(job(), None).look_again is not None
    assert "kubectl describe job" in waiting(job(created=NOW - timedelta(minutes=2)), None).message


def waits(found: Outcome, count: int) -> list[int | None]:
    times = (retry_at(found, failures, 1, 4, NOW) for failures in range(1, count + 1))
    return [round((moment - NOW).total_seconds()) if moment else None for moment in times]


def test_transient_failures_wait_longer_each_time_and_end() -> None:
    failed = Outcome(Kind.TRANSIENT, result("Unreachable").reason, "")
    assert waits(failed, 4) == [60, 120, 240, None]


def test_a_rate_limit_is_waited_out_as_told() -> None:
    limited = Outcome(Kind.RATE_LIMITED, result("RateLimited").reason, "", retry_after=1234)
    assert waits(limited, 4) == [1234, 1234, 1234, None]


@pytest.mark.parametrize("reason", ["CredentialsRejected", "PolicyViolation", "ConnectorBug", "Superseded"])
def test_what_waiting_does_not_cure_is_not_retried(reason: str) -> None:
    assert waits(outcome(job(), ended(result(reason))), 1) == [None]


def test_interruptions_are_retried_at_once_and_without_end_only_up_to_a_bound() -> None:
    gone = outcome(job(), pod(gone=True))
    assert retry_at(gone, 0, 1, 4, NOW) == NOW
    assert retry_at(gone, 0, 20, 1, NOW) is not None
    assert counts(gone, 21)
    assert retry_at(gone, 1, 21, 1, NOW) is None


def test_a_pod_that_ended_counts_before_one_that_runs() -> None:
    runs, over = pod(name="a", uid="1"), pod(name="b", uid="2", exit_code=0)
    assert newest([runs, over]) is over
    assert newest([]) is None


def test_facts_are_read_from_real_objects() -> None:
    found = pod_facts(
        {
            "metadata": {"name": "p", "uid": "u", "deletionTimestamp": "2026-11-21T08:00:00Z"},
            "spec": {"containers": [{"name": "connector", "image": "i:1"}]},
            "status": {
                "phase": "Failed",
                "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}],
                "containerStatuses": [
                    {"name": "sidecar", "state": {"terminated": {"exitCode": 0}}},
                    {"name": "connector", "state": {"terminated": {"exitCode": 75, "reason": "Error", "message": "m"}}},
                ],
            },
        }
    )
    assert (found.exit_code, found.message, found.disruption, found.image) == (75, "m", "EvictionByEvictionAPI", "i:1")
    facts = job_facts(
        {
            "metadata": {"name": "j", "uid": "u", "creationTimestamp": "2026-11-21T08:00:00Z"},
            "spec": {"activeDeadlineSeconds": 60},
            "status": {
                "startTime": "2026-11-21T08:00:01Z",
                "conditions": [
                    {"type": "Suspended", "status": "False", "reason": "JobResumed"},
                    {"type": "FailureTarget", "status": "True", "reason": "DeadlineExceeded", "message": "late"},
                ],
            },
        }
    )
    assert set(facts.conditions) == {"FailureTarget"}
    assert facts.deadline is not None
    assert facts.deadline.minute == 1
    assert not facts.finished
