//! What can be wrong with a field.

use serde_json::{Value, json};

use crate::schema::Field;

/// A wrong value in words, and what takes the place of the right one; `None` takes it out.
pub(crate) type Mutation = (&'static str, Option<Value>);

/// Everything that is tried on a field that has the value `right`.
pub(crate) fn of(field: &Field, right: &Value) -> Vec<Mutation> {
    let mut all = vec![
        ("removed", None),
        ("null", Some(Value::Null)),
        ("of another type", Some(if right.is_number() { json!("seven") } else { json!(7) })),
    ];
    match right {
        Value::String(text) => all.extend(of_text(field, text)),
        Value::Number(_) => all.extend([
            ("negative", Some(json!(-1))),
            ("zero", Some(json!(0))),
            ("huge", Some(json!(i64::MAX))),
            ("a fraction", Some(json!(1.5))),
        ]),
        Value::Array(items) => all.extend([
            ("empty", Some(json!([]))),
            ("with an item twice", Some(json!([items[0], items[0]]))),
            ("too long", Some(Value::Array(vec![items[0].clone(); 100]))),
        ]),
        Value::Object(entries) => {
            let mut more = entries.clone();
            more.insert("bogus".to_owned(), json!({}));
            all.extend([("empty", Some(json!({}))), ("with an unknown field", Some(Value::Object(more)))]);
        }
        Value::Null | Value::Bool(_) => {}
    }
    all
}

fn of_text(field: &Field, right: &str) -> Vec<Mutation> {
    let mut all = vec![
        ("empty", Some(json!(""))),
        ("too long", Some(json!(right.repeat(5000)))),
        ("in the other case", Some(json!(other_case(right)))),
        ("between spaces", Some(json!(format!(" {right} ")))),
        ("in two lines", Some(json!(format!("{right}\n{right}")))),
        ("a path out", Some(json!(format!("../{right}")))),
    ];
    if field.schema["enum"].is_array() {
        all.push(("unknown", Some(json!("Unknown"))));
    }
    all
}

/// Capital letters become small ones and the other way round.
pub(crate) fn other_case(text: &str) -> String {
    let flip = |c: char| if c.is_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
    text.chars().map(flip).collect()
}

/// Names that an object of a kind cannot have, or should not.
pub(crate) fn of_name() -> Vec<(&'static str, String)> {
    vec![
        ("empty", String::new()),
        ("of 41 characters", "a".repeat(41)),
        ("of 254 characters", "a".repeat(254)),
        ("in capitals", "ACME".to_owned()),
        ("with a dot", "acme.example".to_owned()),
        ("with an underscore", "acme_example".to_owned()),
        ("beginning with a hyphen", "-acme".to_owned()),
        ("ending with a hyphen", "acme-".to_owned()),
        ("all digits", "2026".to_owned()),
        ("Chinese", "杭州".to_owned()),
        ("punycode", "xn--fiqs8s".to_owned()),
        ("reserved", "console".to_owned()),
        ("a path out", "../acme".to_owned()),
    ]
}
