//! The fields of a kind, as its schema tells.

use serde_json::Value;

/// A place in an object, and what the schema says about it.
pub(crate) struct Field {
    /// JSON pointer, for example `/spec/hosts/0/name`.
    pub(crate) pointer: String,
    pub(crate) schema: Value,
}

impl Field {
    /// The place as people write it: `spec.hosts[0].name`.
    pub(crate) fn path(&self) -> String {
        let steps = self.pointer.split('/').skip(1);
        steps.fold(String::new(), |path, step| match step.parse::<usize>() {
            Ok(index) => format!("{path}[{index}]"),
            Err(_) if path.is_empty() => step.to_owned(),
            Err(_) => format!("{path}.{step}"),
        })
    }
}

/// All fields of the spec, down to the leaves. Of lists the first item, of maps the entry that `example` has.
pub(crate) fn fields(definition: &Value, example: &Value) -> Vec<Field> {
    let spec = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    let mut found = Vec::new();
    walk("/spec".to_owned(), spec, example, &mut found);
    found
}

fn walk(pointer: String, schema: &Value, example: &Value, found: &mut Vec<Field>) {
    let below = |step: &str| format!("{pointer}/{step}");
    let mut children = Vec::new();
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        children.push((below(name), schema));
    }
    if schema["items"].is_object() {
        children.push((below("0"), &schema["items"]));
    }
    if schema["additionalProperties"].is_object() {
        let entries = example.pointer(&pointer).and_then(Value::as_object);
        let key = entries.and_then(|entries| entries.keys().next());
        children.extend(key.map(|key| (below(&key.replace('/', "~1")), &schema["additionalProperties"])));
    }
    found.push(Field { pointer, schema: schema.clone() });
    for (pointer, schema) in children {
        walk(pointer, schema, example, found);
    }
}
