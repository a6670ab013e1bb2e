"""The Job of an attempt: hardened, without a token, without a secret."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.unit.core.build import NOW, SETTINGS, connector, integration, secret, sync, view

from towline.api.integration import Integration
from towline.contract import PLAN_ANNOTATION, Egress, Plan
from towline.controller.cache import slim
from towline.core import activity, checks, names
from towline.core.checks import Streak
from towline.core.facts import PodSettings, RunSettings
from towline.core.jobspec import build_claim, build_job, image_of
from towline.core.plan import PlanTooLargeError, build_plan
from towline.core.pods import job_facts
from towline.core.times import text
from towline.core.validate import View


def built(
    subject: Integration | None = None, settings: RunSettings = SETTINGS, found: View | None = None, **spec: Any
) -> dict[str, Any]:
    subject = subject or integration()
    found = found or view(subject)
    run = sync(**spec)
    return build_job(run, subject, found, build_plan(run, 1, subject, found, settings), settings)


def pod_of(job: dict[str, Any]) -> dict[str, Any]:
    return dict(job["spec"]["template"]["spec"])


def volume(job: dict[str, Any], name: str) -> dict[str, Any]:
    return next(entry for entry in pod_of(job)["volumes"] if entry["name"] == name)


def test_the_name_is_the_lock_of_the_attempt() -> None:
    job = built()
    assert job["metadata"]["name"] == "acme-prod-m-1-1"
    assert job["metadata"]["ownerReferences"][0]["uid"] == "uid-acme-prod-m-1"
    assert job["metadata"]["ownerReferences"][0]["controller"] is True


def test_the_pod_is_hardened_as_the_restricted_profile_asks() -> None:
    pod = pod_of(built())
    container = pod["containers"][0]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["terminationMessagePolicy"] == "File"
    assert all("value" not in entry for entry in container["env"])
    assert not any("hostPath" in entry for entry in pod["volumes"])


def test_the_installation_says_where_pods_run_and_what_they_carry_and_no_author_undoes_it() -> None:
    own = PodSettings(
        node_selector={"pool": "batch"},
        tolerations=({"key": "batch", "operator": "Exists"},),
        labels={"sidecar.istio.io/inject": "false", "towline.dev/integration": "another"},
        annotations={"note": "x", PLAN_ANNOTATION: "another"},
    )
    subject = integration(job={"nodeSelector": {"pool": "mine", "disk": "ssd"}, "labels": {"team": "sec"}})
    job = built(subject, replace(SETTINGS, pod=own))
    pod, meta = pod_of(job), job["spec"]["template"]["metadata"]
    assert pod["nodeSelector"] == {"pool": "batch", "disk": "ssd"}
    assert pod["tolerations"][0] == {"key": "batch", "operator": "Exists"}
    assert [each["key"] for each in pod["tolerations"][1:]] == [
        "node.kubernetes.io/unreachable",
        "node.kubernetes.io/not-ready",
    ]
    assert meta["labels"].items() >= {"sidecar.istio.io/inject": "false", "team": "sec"}.items()
    assert meta["labels"]["towline.dev/integration"] == "acme-prod"
    assert (meta["annotations"]["note"], "manifest" in meta["annotations"][PLAN_ANNOTATION]) == ("x", True)


def test_a_cluster_that_gives_out_users_may_and_the_rest_of_the_profile_stays() -> None:
    context = pod_of(built(settings=replace(SETTINGS, pod=PodSettings(security_context={}))))["securityContext"]
    assert {"runAsUser", "runAsGroup", "fsGroup"} & set(context) == set()
    assert (context["runAsNonRoot"], context["seccompProfile"]) == (True, {"type": "RuntimeDefault"})
    mine = PodSettings(security_context={"runAsUser": 1000, "fsGroup": 2000})
    context = pod_of(built(settings=replace(SETTINGS, pod=mine)))["securityContext"]
    assert (context["runAsUser"], context["fsGroup"], "runAsGroup" in context) == (1000, 2000, False)


def test_one_job_is_one_attempt_and_a_disruption_fails_it() -> None:
    spec = built()["spec"]
    assert (spec["backoffLimit"], spec["podReplacementPolicy"]) == (0, "Failed")
    first, second = spec["podFailurePolicy"]["rules"]
    assert first == {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert second["onExitCodes"]["values"] == [64, 65, 70, 75, 77, 78, 80]


def test_credentials_are_mounted_under_the_connectors_names_only() -> None:
    subject = integration(credentials={"secretRef": {"name": "acme-api"}, "keys": {"client_id": "ID"}})
    found = view(subject, secrets={"acme-api": secret({"ID", "client_secret", "unrelated"})})
    source = volume(built(subject, found=found), "credentials")["projected"]["sources"][0]["secret"]
    assert source == {
        "name": "acme-api",
        "optional": True,
        "items": [{"key": "ID", "path": "client_id"}, {"key": "client_secret", "path": "client_secret"}],
    }


def test_the_plan_holds_everything_but_secrets() -> None:
    text = built(mode="Full")["spec"]["template"]["metadata"]["annotations"][PLAN_ANNOTATION]
    plan = Plan.model_validate_json(text)
    assert plan.integration == "secops/acme-prod"
    assert plan.config == {"region": "eu", "size": 100}
    assert [(stream.name, stream.full) for stream in plan.streams] == [("hosts", True), ("alerts", True)]
    assert plan.allowed_hosts == ["api.acme.example"]
    assert (plan.sync.attempt, plan.sync.created) == (1, "2026-11-21T08:29:00Z")
    assert json.loads(text)["manifest"]["title"] == "Acme"


def test_a_sync_of_some_streams_plans_only_these() -> None:
    plan = build_plan(sync(streams=["alerts"]), 1, integration(), view(), SETTINGS)
    assert [stream.name for stream in plan.streams] == ["alerts"]


def test_a_check_asks_only_the_streams_that_it_names() -> None:
    assert build_plan(sync(mode="Check"), 1, integration(), view(), SETTINGS).streams == []
    plan = build_plan(sync(mode="Check", streams=["alerts"]), 1, integration(), view(), SETTINGS)
    assert [stream.name for stream in plan.streams] == ["alerts"]


def test_networks_that_the_administrator_opens_reach_the_plan_and_no_author_does() -> None:
    opened = replace(SETTINGS, egress=Egress(allow=["10.0.0.0/8"], deny=["10.96.0.0/12"]))
    assert build_plan(sync(), 1, integration(), view(), opened).egress == opened.egress
    assert "egress" not in json.dumps(Integration.model_json_schema())


def test_settings_of_a_stream_reach_the_plan() -> None:
    stream = {
        "name": "hosts",
        "fullEvery": "7d",
        "lookback": "10m",
        "filter": "active",
        "mapping": [{"field": "owner", "expression": "raw.owner"}],
        "guard": {"maxDeletePercent": 20},
    }
    subject = integration(streams=[stream])
    planned = build_plan(sync(), 1, subject, view(subject), SETTINGS).streams[0]
    assert (planned.full_every, planned.lookback, planned.filter) == ("7d", "10m", "active")
    assert (planned.mapping, planned.max_delete_percent) == ({"owner": "raw.owner"}, 20)


def test_a_plan_that_does_not_fit_an_annotation_is_refused() -> None:
    big = connector(description="x" * 1000, http={"baseURL": "https://api.acme.example"})
    subject = integration(config={"region": "eu", "host": "x" * 250_000})
    with pytest.raises(PlanTooLargeError, match="name fewer streams"):
        build_plan(sync(), 1, subject, view(subject, connector=big), SETTINGS)


def test_rows_go_to_the_volume_unless_a_secret_names_a_database() -> None:
    assert volume(built(), "data") == {"name": "data", "persistentVolumeClaim": {"claimName": "towline-data"}}
    subject = integration(destinationSecretRef={"name": "warehouse"})
    found = view(subject, secrets={"acme-api": secret(), "warehouse": secret({"url"})})
    job = built(subject, found=found)
    assert volume(job, "destination")["projected"]["sources"][0]["secret"]["name"] == "warehouse"
    assert "data" not in [entry["name"] for entry in pod_of(job)["volumes"]]
    claim = build_claim("secops", RunSettings(volume_size="1Gi", storage_class="fast"))
    assert claim["spec"]["storageClassName"] == "fast"
    assert "ownerReferences" not in claim["metadata"]


def test_a_claim_with_reports_is_mounted_read_only_and_no_other_claim_is() -> None:
    files = {"path": "images", "volume": "${config.volume}"}
    schema = {"type": "object", "properties": {"volume": {"type": "string"}}}
    streams = [{"name": "reports", "file": {}, "sync": {"mode": "Full"}, "emit": [{"entity": "asset", "key": "=id"}]}]
    scanner = connector(http=None, egress=None, credentials=None, files=files, configSchema=schema, streams=streams)

    def claims(name: str) -> list[dict[str, Any]]:
        subject = integration(config={"volume": name}, credentials={"source": "None"})
        pod = pod_of(built(subject, found=view(subject, connector=scanner)))
        return [v["persistentVolumeClaim"] for v in pod["volumes"] if "persistentVolumeClaim" in v]

    assert {"claimName": "towline-reports-trivy", "readOnly": True} in claims("towline-reports-trivy")
    assert claims("payroll") == [{"claimName": "towline-data"}]


def test_resources_come_from_the_nearest_that_names_them() -> None:
    own = connector(defaults={"resources": {"limits": {"memory": "1Gi"}}, "activeDeadlineSeconds": 120})
    subject = integration(job={"resources": {"requests": {"cpu": "2"}}})
    job = built(subject, found=view(subject, connector=own))
    assert pod_of(job)["containers"][0]["resources"] == {
        "requests": {"cpu": "2", "memory": "256Mi"},
        "limits": {"memory": "1Gi"},
    }
    assert job["spec"]["activeDeadlineSeconds"] == 180


def test_labels_of_the_user_never_replace_towlines() -> None:
    subject = integration(job={"labels": {"kueue.x-k8s.io/queue-name": "syncs", "towline.dev/sync": "forged"}})
    labels = built(subject)["metadata"]["labels"]
    assert labels["kueue.x-k8s.io/queue-name"] == "syncs"
    assert labels["towline.dev/sync"] == "acme-prod-m-1"


def test_an_image_of_its_own_is_used_by_digest() -> None:
    own = connector(
        http=None, entrypoint="acme.run", image={"repository": "r.example/x", "digest": f"sha256:{'0' * 64}"}
    )
    assert image_of(own, SETTINGS) == (f"r.example/x@sha256:{'0' * 64}", "IfNotPresent")


def test_the_longest_names_fit() -> None:
    integration_name = "i" * 40
    sync_name = names.scheduled(integration_name, NOW)
    assert len(sync_name) <= names.MAX_SYNC_NAME
    assert len(names.job("s" * names.MAX_SYNC_NAME, 9999)) <= names.MAX_JOB_NAME
    assert names.attempt_of(names.job(sync_name, 12), sync_name) == 12
    assert names.attempt_of("another-1", sync_name) is None


def test_the_job_says_up_to_when_its_plan_tells_of_checks() -> None:
    streak = Streak("Reachable", "", NOW, NOW + timedelta(minutes=3), 4)
    run, subject = sync(), integration()
    origin = activity.origin(run, "", [checks.record("acme-prod", "u-1", streak)], [], 90, NOW)
    plan = build_plan(run, 1, subject, view(subject), SETTINGS, origin)
    job = build_job(run, subject, view(subject), plan, SETTINGS)
    assert job_facts(slim("Job", job)).checks_until == text(NOW + timedelta(minutes=3))
    assert job_facts(slim("Job", job)).ends_until == ""
    assert "annotations" not in built()["metadata"]


def test_the_job_says_up_to_when_its_plan_tells_of_ends_of_earlier_syncs() -> None:
    done = activity.ended(sync({"completionTime": text(NOW - timedelta(minutes=3)), "attempts": 1}))
    assert done
    run, subject = sync(), integration()
    plan = build_plan(run, 1, subject, view(subject), SETTINGS, activity.origin(run, "", [], [done], 90, NOW))
    assert plan.sync.origin.seen == [done]
    job = build_job(run, subject, view(subject), plan, SETTINGS)
    assert job_facts(slim("Job", job)).ends_until == text(NOW - timedelta(minutes=3))
    whole = plan.sync.origin.model_copy(update={"seen": [done.model_copy(update={"detail": {"x": "x" * 200_000}})]})
    silent = build_plan(run, 1, subject, view(subject), SETTINGS, whole)
    assert (silent.sync.origin.seen, silent.sync.origin.ends_until) == ([], ""), "what does not fit is not told"
