"""Request bodies for the OpenAPI description. The bodies themselves are read and checked by `server.state`."""

from __future__ import annotations

from typing import Any

from strongroom.wire import adapter


def takes(kind: Any) -> dict[str, Any]:
    """`openapi_extra` for a route that reads a JSON body of this type."""
    schema = adapter(kind).json_schema()
    inlined = _inline(schema, schema.pop("$defs", {}))
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": inlined}}}}


def _inline(node: Any, definitions: dict[str, Any]) -> Any:
    # References would point into a part of the document that belongs to the framework.
    if isinstance(node, dict):
        if "$ref" in node:
            return _inline(definitions[node["$ref"].rsplit("/", 1)[-1]], definitions)
        return {key: _inline(value, definitions) for key, value in node.items()}
    if isinstance(node, list):
        return [_inline(value, definitions) for value in node]
    return node
