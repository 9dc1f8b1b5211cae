"""What schemathesis does to the document before it tests: an answer may hold nothing that is not declared.

The document leaves its objects open, because clients must bear members of later versions; this server has no excuse.
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


@schemathesis.hook
def before_load_schema(context, raw_schema):
    schemas = raw_schema["components"]["schemas"]
    operations = [operation for item in raw_schema["paths"].values() for operation in item.values()]
    # What requests share stays open: unknown members of a body are ignored on purpose.
    closed = reachable([operation["responses"] for operation in operations], schemas)
    closed -= reachable([operation.get("requestBody", {}) for operation in operations], schemas)
    merged = {name for schema in schemas.values() for part in schema.get("allOf", []) for name in names_below(part)}
    for name in closed - merged:
        schema = schemas[name]
        is_map = "additionalProperties" in schema
        if "allOf" in schema or (schema.get("type") == "object" and not is_map):
            schema["unevaluatedProperties"] = False
