//! What is done to a whole schema when it has been generated.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
};

/// Takes `nullable` away, which the generator sets on every optional field: an explicit `null` would
/// be a second way of leaving a field out, which rules in CEL and signatures would see as another.
pub(crate) fn refuse_null(schema: &mut JSONSchemaProps) {
    each(schema, &mut |field| field.nullable = None);
}

/// Joins the lines of each paragraph of the descriptions: `kubectl explain` breaks lines where its reader's terminal ends,
/// and keeps those that are there.
pub(crate) fn join_lines(schema: &mut JSONSchemaProps) {
    each(schema, &mut |field| {
        if let Some(text) = &mut field.description {
            let paragraphs = text.split("\n\n");
            let joined: Vec<String> = paragraphs
                .map(|lines| lines.split_whitespace().collect::<Vec<_>>().join(" "))
                .collect();
            *text = joined.join("\n\n");
        }
    });
}

/// Has an object whose status nobody has written yet say that its spec was not seen: tools that wait would take it for
/// done (kstatus compares `status.observedGeneration` with the generation). The API server fills a default in when an
/// object is read, too.
pub(crate) fn unobserved_at_first(schema: &mut JSONSchemaProps) {
    let status = schema.properties.as_mut().and_then(|all| all.get_mut("status"));
    if let Some(status) = status {
        status.default = Some(JSON(serde_json::json!({ "observedGeneration": -1 })));
    }
}

/// Says of each list how it is merged. One that says nothing else is replaced as a whole: that is what the API server
/// takes it for, and who reads the schema need not know that.
pub(crate) fn say_list_types(schema: &mut JSONSchemaProps) {
    each(schema, &mut |field| {
        if field.type_.as_deref() == Some("array") {
            field.x_kubernetes_list_type.get_or_insert_with(|| "atomic".to_owned());
        }
    });
}

/// Keeps the name that `credentialID` had in older releases. A field that the schema does not know is dropped when an
/// object is read, and the signature of what those releases stamped would no longer match.
pub(crate) fn keep_older_name(schema: &mut JSONSchemaProps) {
    let properties = schema.properties.iter_mut().flat_map(|map| map.iter_mut());
    for (_, stamp) in
        properties.filter(|(name, _)| ["requester", "decider"].contains(&name.as_str()))
    {
        let Some(fields) = stamp.properties.as_mut() else { continue };
        let Some(mut older) = fields.get("credentialID").cloned() else { continue };
        older.description = Some(
            "What credentialID was called by older releases. Nothing is stamped here any more."
                .to_owned(),
        );
        fields.insert("credentialId".to_owned(), older);
    }
}

/// Calls `change` for a schema and all that is within it.
fn each(schema: &mut JSONSchemaProps, change: &mut impl FnMut(&mut JSONSchemaProps)) {
    change(schema);
    for property in schema.properties.iter_mut().flat_map(|map| map.values_mut()) {
        each(property, change);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        each(items, change);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_and_paragraphs_are_kept() {
        let text = |text: &str| Some(text.to_owned());
        let mut schema = JSONSchemaProps {
            description: text("One\nparagraph.\n\nAnother\n one."),
            properties: Some(
                [(
                    "below".to_owned(),
                    JSONSchemaProps {
                        description: text("Of\na field."),
                        ..JSONSchemaProps::default()
                    },
                )]
                .into(),
            ),
            ..JSONSchemaProps::default()
        };
        join_lines(&mut schema);
        assert_eq!(schema.description, text("One paragraph.\n\nAnother one."));
        assert_eq!(schema.properties.unwrap()["below"].description, text("Of a field."));
    }
}
