"""What an administrator may say of the pods of syncs, and how a mistake in it is told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from towline.cli.operator import operator


def told(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    ended = CliRunner().invoke(operator, [f"--job-pod={text}", "--kubeconfig=/none"])
    assert ended.exit_code != 0
    return ended.output + str(ended.exception or "")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("{", "not JSON"),
        ({"containers": []}, "give an object with nodeSelector, tolerations, labels, annotations, securityContext"),
        ({"tolerations": {}}, "tolerations has to be a list"),
        ({"nodeSelector": []}, "nodeSelector has to be an object"),
        ({"securityContext": {"runAsNonRoot": False}}, "not runAsNonRoot"),
    ],
)
def test_a_wrong_setting_of_the_pods_is_named(value: Any, said: str) -> None:
    assert said in told(value)


def test_a_right_one_is_taken() -> None:
    value = {"nodeSelector": {"pool": "batch"}, "tolerations": [{"operator": "Exists"}], "securityContext": {}}
    assert "--job-pod" not in told(value)  # it ends for lack of a cluster
