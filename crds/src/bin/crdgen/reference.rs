//! The reference of the API, for people: every field of every kind, with its type, what it must be, and what it does.

use std::fmt::Write as _;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

/// The page.
pub(crate) fn page(crds: &[CustomResourceDefinition]) -> String {
    let mut page = String::from(
        "# API reference\n\n\
         <!-- Generated from the types in crds/src by `cargo run --bin crdgen`. -->\n\n\
         All kinds are of `lapse.dev/v1alpha1`. `kubectl explain` shows the same texts. A field in **bold** is required \
         where what it is part of is given. `[]` stands for each item of a list, `{}` for each value of a map. What a field \
         must be is checked when an object is stored.\n",
    );
    for crd in crds {
        kind(&mut page, crd);
    }
    page
}

fn kind(page: &mut String, crd: &CustomResourceDefinition) {
    let names = &crd.spec.names;
    let short = names.short_names.iter().flatten().map(|name| format!("`{name}`"));
    let short = short.collect::<Vec<_>>().join(", ");
    let scope = match &*crd.spec.scope {
        "Namespaced" => "in a namespace",
        _ => "in the cluster",
    };
    let _ = write!(page, "\n## {}\n\n`{}`, short {short}, {scope}. ", names.kind, names.plural);
    let schemas = crd.spec.versions.iter().filter_map(|version| version.schema.as_ref());
    for schema in schemas.filter_map(|schema| schema.open_api_v3_schema.as_ref()) {
        let _ = writeln!(page, "{}", schema.description.as_deref().unwrap_or_default());
        for (part, schema) in schema.properties.iter().flatten() {
            let _ =
                write!(page, "\n### {}: {part}\n\n| Field | Type | |\n|---|---|---|\n", names.kind);
            rows(page, "", schema);
        }
    }
}

/// A row for each field below, in the order of their names.
fn rows(page: &mut String, path: &str, schema: &JSONSchemaProps) {
    let required = schema.required.as_deref().unwrap_or_default();
    for (name, field) in schema.properties.iter().flatten() {
        let place = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let code = format!("`{place}`");
        let code = if required.contains(name) { format!("**{code}**") } else { code };
        let _ = writeln!(page, "| {code} | {} | {} |", type_of(field), cell(&told(field)));
        below(page, &place, field);
    }
}

fn below(page: &mut String, place: &str, field: &JSONSchemaProps) {
    rows(page, place, field);
    if let Some(items) = items_of(field) {
        below(page, &format!("{place}[]"), items);
    }
    if let Some(values) = values_of(field) {
        below(page, &format!("{place}{{}}"), values);
    }
}

/// What a list is of.
fn items_of(field: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match &field.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => Some(items),
        _ => None,
    }
}

/// What a map is of.
fn values_of(field: &JSONSchemaProps) -> Option<&JSONSchemaProps> {
    match &field.additional_properties {
        Some(JSONSchemaPropsOrBool::Schema(values)) => Some(values),
        _ => None,
    }
}

fn type_of(field: &JSONSchemaProps) -> String {
    let own = field.type_.as_deref().unwrap_or("any");
    match (items_of(field), values_of(field)) {
        (Some(items), _) => format!("list of {}", type_of(items)),
        (_, Some(values)) => format!("map of {}", type_of(values)),
        _ => match &field.format {
            Some(format) => format!("{own} ({format})"),
            None => own.to_owned(),
        },
    }
}

/// What a field does, and what it must be.
fn told(field: &JSONSchemaProps) -> String {
    let mut parts: Vec<String> = field.description.clone().into_iter().collect();
    let items = items_of(field);
    if let Some(values) = field.enum_.as_ref().or(items.and_then(|items| items.enum_.as_ref())) {
        let values: Vec<String> =
            values.iter().map(|value| format!("`{}`", text(&value.0))).collect();
        parts.push(format!("One of {}.", values.join(", ")));
    }
    if let Some(default) = &field.default {
        parts.push(format!("Default: `{}`.", text(&default.0)));
    }
    parts.extend(range("Characters", field.min_length, field.max_length));
    parts.extend(range("Items", field.min_items, field.max_items));
    parts.extend(range("Entries", field.min_properties, field.max_properties));
    parts.extend(range("Value", field.minimum, field.maximum));
    for one in std::iter::once(field).chain(items) {
        let rules = one.x_kubernetes_validations.iter().flatten();
        let messages = rules.filter_map(|rule| rule.message.as_deref());
        parts.extend(messages.map(|message| format!("Checked: {message}.")));
    }
    parts.join("\n\n")
}

fn range<T: std::fmt::Display>(what: &str, least: Option<T>, most: Option<T>) -> Option<String> {
    match (least, most) {
        (Some(least), Some(most)) => Some(format!("{what}: {least} to {most}.")),
        (Some(least), None) => Some(format!("{what}: at least {least}.")),
        (None, Some(most)) => Some(format!("{what}: at most {most}.")),
        (None, None) => None,
    }
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// A text as one cell of a table. Code is shown as it is.
fn cell(text: &str) -> String {
    let parts = text.split('`').enumerate();
    let parts =
        parts.map(|(i, part)| if i % 2 == 0 { part.replace('<', "&lt;") } else { part.to_owned() });
    parts
        .collect::<Vec<_>>()
        .join("`")
        .replace('|', "\\|")
        .replace("\n\n", "<br>")
        .replace('\n', " ")
}
