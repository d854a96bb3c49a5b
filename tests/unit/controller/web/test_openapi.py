"""That the OpenAPI document says all that the registry says, and is one."""

import json
import re
from typing import Any

import attrs
import msgspec
import pytest

from controller.web.openapi import document
from tests.unit.controller.hsctl.conftest import product_registry

REGISTRY = product_registry()
DOCUMENT: dict[str, Any] = json.loads(msgspec.json.encode(document(REGISTRY, "1")))


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if "$ref" in value else set()
        return own.union(*(references(part) for part in value.values()))
    if isinstance(value, list):
        return set().union(*(references(part) for part in value))
    return set()


@pytest.mark.parametrize("command", list(REGISTRY), ids=lambda command: command.name)
def test_a_command_is_there_with_all_that_a_caller_needs(command: Any) -> None:
    operation = DOCUMENT["paths"][command.path][command.method.lower()]
    assert operation["operationId"] == command.name
    assert operation["summary"] == command.summary
    assert operation["x-permission"] == command.permission
    assert operation["responses"].keys() >= {"200", "401", "403", "404", "422", "500"}
    named = {parameter["name"] for parameter in operation["parameters"]}
    in_body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    named |= in_body.get("schema", {}).get("properties", {}).keys()
    assert named >= {field.name for field in attrs.fields(command.request)}
    if command.writes:
        assert {"dry_run", "Idempotency-Key"} <= named


def test_the_document_is_openapi_3_1_and_refers_to_nothing_that_is_missing() -> None:
    assert DOCUMENT["openapi"].startswith("3.1.")
    assert {"title", "version"} <= DOCUMENT["info"].keys()
    for reference in references(DOCUMENT):
        *_, kind, name = reference.split("/")
        assert name in DOCUMENT["components"][kind]
    for scheme in DOCUMENT["security"]:
        assert scheme.keys() <= DOCUMENT["components"]["securitySchemes"].keys()
    for path, operations in DOCUMENT["paths"].items():
        for operation in operations.values():
            given = operation.get("parameters", [])
            in_path = [part["name"] for part in given if part["in"] == "path"]
            assert sorted(in_path) == sorted(re.findall(r"\{([^}]*)\}", path))
            assert all(part["required"] for part in given if part["in"] == "path")
            keys = [(part["name"], part["in"]) for part in given]
            assert len(keys) == len(set(keys))
    ids = [
        operation["operationId"]
        for operations in DOCUMENT["paths"].values()
        for operation in operations.values()
    ]
    assert len(ids) == len(set(ids))


def test_a_required_body_says_so() -> None:
    operation = DOCUMENT["paths"]["/domains"]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["account", "name"]
    assert schema["additionalProperties"] is False
