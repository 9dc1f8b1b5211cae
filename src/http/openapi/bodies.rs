//! What [`Body`](crate::http::extract::Body) takes from everyone, in the words of the document: no body where no member
//! is required, and `null` for any member that may be absent.

use std::collections::BTreeSet;

use serde_json::Value;
use utoipa::openapi::schema::{SchemaType, Type};
use utoipa::openapi::{Components, ObjectBuilder, OneOfBuilder, OpenApi, RefOr, Required, Schema};

use super::operations_mut;

const SCHEMAS: &str = "#/components/schemas/";

/// Says so of every JSON body.
pub fn relax(document: &mut OpenApi) {
    let Some(components) = &mut document.components else { return };
    let mut open = BTreeSet::new();
    for body in document.paths.paths.values_mut().flat_map(operations_mut).filter_map(|one| one.request_body.as_mut()) {
        let RefOr::T(body) = body else { continue };
        let Some(RefOr::T(content)) = body.content.get("application/json") else { continue };
        let Some(RefOr::Ref(args)) = &content.schema else { continue };
        let Some(name) = args.ref_location.strip_prefix(SCHEMAS) else { continue };
        if !has_required_member(components, name) {
            body.required = Some(Required::False);
        }
        open.insert(name.to_owned());
    }
    let mut seen = BTreeSet::new();
    while let Some(name) = open.pop_first() {
        if let Some(schema) = components.schemas.get_mut(&name)
            && seen.insert(name)
        {
            let plain = serde_json::to_value(&*schema).unwrap_or_default();
            let mut references = BTreeSet::new();
            gather_references(&plain, &mut references);
            open.extend(references.iter().filter_map(|reference| Some(reference.strip_prefix(SCHEMAS)?.to_owned())));
            allow_null_members(schema);
        }
    }
}

fn has_required_member(components: &Components, name: &str) -> bool {
    matches!(components.schemas.get(name), Some(RefOr::T(Schema::Object(args))) if !args.required.is_empty())
}

fn allow_null_members(schema: &mut RefOr<Schema>) {
    let RefOr::T(Schema::Object(object)) = schema else { return };
    for (name, member) in &mut object.properties {
        if !object.required.contains(name) {
            allow_null(member);
        }
    }
}

fn allow_null(member: &mut RefOr<Schema>) {
    match member {
        RefOr::T(Schema::Object(object)) => object.schema_type = or_null(&object.schema_type),
        RefOr::T(Schema::Array(array)) => array.schema_type = or_null(&array.schema_type),
        // A choice comes from an `Option`, which has its null already.
        RefOr::T(_) => {}
        RefOr::Ref(_) => {
            let null = ObjectBuilder::new().schema_type(Type::Null);
            *member = OneOfBuilder::new().item(null).item(member.clone()).into();
        }
    }
}

fn or_null(schema_type: &SchemaType) -> SchemaType {
    match schema_type {
        SchemaType::Type(one) => SchemaType::Array(vec![one.clone(), Type::Null]),
        other => other.clone(),
    }
}

/// Every `$ref` below `value`.
pub fn gather_references(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                match member.as_str() {
                    Some(text) if key == "$ref" => drop(into.insert(text.into())),
                    _ => gather_references(member, into),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| gather_references(item, into)),
        _ => {}
    }
}
