"""The OpenAPI 3.1 document of the API, made from the command registry."""

import re
import typing
from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import msgspec

from controller.commands import Command

_REF = "#/components/schemas/{name}"

_PROBLEM: dict[str, Any] = {
    "type": "object",
    "title": "Problem",
    "description": "Why a request was refused (RFC 9457). Nothing was written.",
    "properties": {
        "type": {"type": "string"},
        "id": {"type": "string", "description": "Stable, meant for programs."},
        "title": {"type": "string"},
        "detail": {"type": "string"},
        "status": {"type": "integer"},
        "field": {"type": "string", "description": "The request's field at fault, or empty."},
        "value": {"type": "string", "description": "What was given there."},
        "allowed": {"type": "string", "description": "What would be accepted, or what to do."},
    },
    "required": ["type", "id", "title", "detail", "status"],
}

_ERRORS = {
    "401": "Nobody is signed in.",
    "403": "The one signed in may not ask for this.",
    "404": "What the path names does not exist, or is not yours.",
    "409": "What is there stands in the way.",
    "412": "Changed since it was read (If-Match).",
    "413": "The body is too large.",
    "415": "The body is not application/json.",
    "421": "Asked under a host name that is not served here.",
    "422": "A value is not valid, is taken or names nothing; nothing was written.",
    "500": "The controller failed; the id stands in its log.",
    "503": "The database is away or busy; ask again.",
}

_WRITE_HEADERS: tuple[dict[str, Any], ...] = (
    {
        "name": "Idempotency-Key",
        "in": "header",
        "schema": {"type": "string", "maxLength": 128},
        "description": "The same key and request again give the first answer and write nothing.",
    },
    {
        "name": "Heliosphere-Reason",
        "in": "header",
        "schema": {"type": "string", "maxLength": 500},
        "description": "Why, in words; kept with the change.",
    },
    {
        "name": "dry_run",
        "in": "query",
        "schema": {"type": "boolean", "default": False},
        "description": "Write nothing; answer the plan of the change. Its `words` say in "
        "sentences what would happen, which servers it touches and which daemons reload.",
    },
    {
        "name": "diff",
        "in": "query",
        "schema": {"type": "boolean", "default": False},
        "description": "With `dry_run`: ask the boxes concerned what would change on them. The "
        "plan's `differences` hold, server by server, a unified diff of each file and the effects "
        "in order, secrets taken out; a box that cannot say is named in words.",
    },
)


def document(commands: Iterable[Command[Any]], version: str) -> dict[str, Any]:
    """Give the document as plain data."""
    commands = list(commands)
    types = [type_ for command in commands for type_ in (command.request, command.response)]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for command, request, response in zip(commands, schemas[::2], schemas[1::2], strict=True):
        properties = _properties(request, components)
        operation = _operation(command, properties, response)
        paths.setdefault("/" + command.path.strip("/"), {})[command.method.lower()] = operation
    paths["/events"] = {"get": _EVENTS}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Heliosphere",
            "version": version,
            "description": "Everything that panel and hsctl do. Every write makes one change, "
            "which `GET /changes/{id}?wait=SECONDS&seen=HASH` follows box by box.",
        },
        "servers": [{"url": "/api/v1"}],
        "security": [{"token": []}, {"operatorCertificate": []}],
        "paths": paths,
        "components": {
            "schemas": {**components, "Problem": _PROBLEM},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "operatorCertificate": {"type": "mutualTLS"},
            },
        },
    }


_EVENTS = {
    "operationId": "events",
    "summary": "Follow what happens (server-sent events)",
    "description": "Event `change` has the change's seq as its id: send it back as Last-Event-ID "
    "to go on where you were. Event `moved` says that a change or a box moved.",
    "x-permission": "provider.read",
    "responses": {
        "200": {"description": "A stream.", "content": {"text/event-stream": {}}},
        "401": {"description": _ERRORS["401"]},
        "403": {"description": _ERRORS["403"]},
    },
}


def _operation(
    command: Command[Any], properties: Mapping[str, Any], response: Any
) -> dict[str, Any]:
    in_path = re.findall(r"\{([^}]*)\}", command.path)
    required = {
        field.name
        for field in attrs.fields(command.request)
        if field.default is attrs.NOTHING and field.init
    }
    rest = {name: schema for name, schema in properties.items() if name not in in_path}
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": properties[name]}
        for name in in_path
    ]
    operation: dict[str, Any] = {
        "operationId": command.name,
        "summary": command.summary,
        "x-permission": command.permission,
        "parameters": parameters,
        "responses": _responses(command, response),
    }
    if command.description:
        operation["description"] = command.description
    if command.writes:
        parameters.extend(_WRITE_HEADERS)
    if command.method in ("GET", "DELETE"):
        parameters.extend(
            {"name": name, "in": "query", "required": name in required, "schema": schema}
            for name, schema in rest.items()
        )
    else:
        body: dict[str, Any] = {
            "type": "object",
            "properties": rest,
            "additionalProperties": False,
        }
        if needed := sorted(required & rest.keys()):
            body["required"] = needed
        operation["requestBody"] = {
            "required": bool(needed),
            "content": {"application/json": {"schema": body}},
        }
    return operation


def _responses(command: Command[Any], response: Any) -> dict[str, Any]:
    schema = response
    if command.writes:
        schema = {
            "type": "object",
            "properties": {
                "change": {"type": ["integer", "null"]},
                "result": response,
                "plan": {"type": ["object", "null"]},
                "since": {
                    "description": "Where nothing was changed: the change by which it is so.",
                    "type": ["integer", "null"],
                },
            },
            "required": ["change", "result", "plan", "since"],
        }
    problem = {
        "content": {"application/problem+json": {"schema": {"$ref": _REF.format(name="Problem")}}}
    }
    return {
        "200": {"description": "Done.", "content": {"application/json": {"schema": schema}}},
        **{status: {"description": text, **problem} for status, text in _ERRORS.items()},
    }


def _properties(schema: Mapping[str, Any], components: Mapping[str, Any]) -> Mapping[str, Any]:
    if "$ref" in schema:
        schema = components[schema["$ref"].rsplit("/", 1)[1]]
    return typing.cast(Mapping[str, Any], schema.get("properties", {}))
