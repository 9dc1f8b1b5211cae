"""What schemathesis does to the document before it tests.

An answer may hold nothing that is not declared: the document leaves its objects open, because clients must bear members
of later versions, but this server has no excuse.

A request may leave out anything: what the document calls required is what makes sense, while the server takes no body,
`null` and absent members for empty ones and refuses them by name, often with status 200.
"""

import schemathesis

PREFIX = "#/components/schemas/"


def names_below(value):
    """The names of all schemas that `value` refers to by itself."""
    if isinstance(value, list):
        return {name for item in value for name in names_below(item)}
    if not isinstance(value, dict):
        return set()
    names = {name for member in value.values() for name in names_below(member)}
    reference = value.get("$ref")
    if isinstance(reference, str) and reference.startswith(PREFIX):
        names.add(reference.removeprefix(PREFIX))
    return names


def reachable(value, schemas):
    """The names of all schemas that `value` refers to, directly or not."""
    seen, fresh = set(), names_below(value)
    while fresh:
        seen |= fresh
        fresh = {name for one in fresh for name in names_below(schemas[one])} - seen
    return seen


def or_null(schema):
    """The same schema, which also takes `null`."""
    kind = schema.get("type")
    if isinstance(kind, str):
        return schema | {"type": [kind, "null"]}
    return {"anyOf": [schema, {"type": "null"}]} if "$ref" in schema else schema


@schemathesis.hook
def before_load_schema(context, raw_schema):
    schemas = raw_schema["components"]["schemas"]
    operations = [operation for item in raw_schema["paths"].values() for operation in item.values()]
    bodies = [operation["requestBody"] for operation in operations if "requestBody" in operation]
    answered = reachable([operation["responses"] for operation in operations], schemas)
    asked = reachable(bodies, schemas)

    merged = {name for schema in schemas.values() for part in schema.get("allOf", []) for name in names_below(part)}
    for name in answered - asked - merged:
        schema = schemas[name]
        is_map = "additionalProperties" in schema
        if "allOf" in schema or (schema.get("type") == "object" and not is_map):
            schema["unevaluatedProperties"] = False

    for name in asked - answered:
        schema = schemas[name]
        if "properties" in schema:
            schema.pop("required", None)
            schema["properties"] = {key: or_null(member) for key, member in schema["properties"].items()}
    for body in bodies:
        body["required"] = False
        for content in body["content"].values():
            content["schema"] = or_null(content["schema"])
