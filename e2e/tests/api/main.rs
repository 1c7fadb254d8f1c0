//! The kinds on a real API server: every field of every kind with everything that can be wrong about it, and the answer.
//!
//! The answers are kept in `accepted/`. `UPDATE=1` rewrites them; the diff is for people to read: is each wrong value refused,
//! with words that say what to write instead?

mod examples;
mod mutations;
mod schema;

use std::{fmt::Write as _, fs, path::Path, time::Duration};

use anyhow::{Context, Result, bail};
use e2e::{
    cluster::ControlPlane,
    host::wait::{Look, Wait},
};
use http::{Method, Request};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Client, ResourceExt, api::PostParams};
use serde_json::{Value, json};

use crate::schema::Field;

/// A kind on the server: its definition as JSON and an object with all fields.
struct Kind {
    name: String,
    url: String,
    fields: Vec<Field>,
    example: Value,
}

async fn kinds(client: &Client) -> Result<Vec<Kind>> {
    let definitions = operator::api::definitions()?;
    let mut kinds = Vec::new();
    let examples = examples::all();
    for example in &examples {
        let (_, definition) = definitions
            .iter()
            .find(|(_, definition)| example["kind"] == definition.spec.names.kind)
            .context("an example of a kind that is not ours")?;
        establish(client, definition).await?;
        let mut fields = schema::fields(&serde_json::to_value(definition)?, example);
        // Of fields that exclude one another, each example of a kind has its own.
        fields.retain(|field| {
            let has = |example: &Value| example.pointer(&field.pointer).is_some();
            has(example) || !examples.iter().any(|other| other["kind"] == example["kind"] && has(other))
        });
        kinds.push(Kind {
            name: definition.spec.names.kind.clone(),
            url: format!("/apis/tenantry.dev/v1alpha1/{}", definition.spec.names.plural),
            fields,
            example: example.clone(),
        });
    }
    Ok(kinds)
}

async fn establish(client: &Client, definition: &CustomResourceDefinition) -> Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    if api.get_opt(&definition.name_any()).await?.is_none() {
        api.create(&PostParams::default(), definition).await?;
    }
    Wait::new(format!("{} to be served", definition.name_any()), Duration::from_secs(30))
        .until(async || {
            let now = api.get(&definition.name_any()).await?;
            let conditions = now.status.and_then(|status| status.conditions).unwrap_or_default();
            let is = conditions.iter().any(|one| one.type_ == "Established" && one.status == "True");
            Ok(if is { Look::Done(()) } else { Look::NotYet(format!("{conditions:?}")) })
        })
        .await
}

/// Sends an object and returns the answer in one line: `accepted`, or the API server's words.
async fn answer(client: &Client, method: Method, url: &str, object: &Value) -> Result<String> {
    let content = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
    let request = Request::builder()
        .method(method)
        .uri(format!("{url}?dryRun=All&fieldValidation=Strict"))
        .header("content-type", content)
        .body(serde_json::to_vec(object)?)?;
    match client.request::<Value>(request).await {
        Ok(_) => Ok("accepted".to_owned()),
        Err(kube::Error::Api(status)) if (400..500).contains(&status.code) => {
            Ok(in_one_line(&status.message))
        }
        Err(error) => bail!("{url} cannot be asked: {error}"),
    }
}

/// Without what is the same in all answers, and without the wrong value where it is long.
fn in_one_line(message: &str) -> String {
    let words = message.split_once(" is invalid: ").map_or(message, |(_, words)| words);
    let short = words.split_inclusive(' ').map(|word| match word.char_indices().nth(80) {
        Some((end, _)) => format!("{}… ", &word[..end]),
        None => word.to_owned(),
    });
    short.collect::<String>().replace('\n', " ")
}

#[tokio::test]
async fn what_is_wrong_is_refused_with_words_that_help() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let client = control_plane.client().await?;
    let mut answers = String::new();
    for kind in kinds(&client).await? {
        let right = answer(&client, Method::POST, &kind.url, &kind.example).await?;
        assert_eq!(right, "accepted", "the example of {}", kind.name);
        for (what, name) in mutations::of_name() {
            let mut object = kind.example.clone();
            object["metadata"]["name"] = json!(name);
            let answer = answer(&client, Method::POST, &kind.url, &object).await?;
            writeln!(answers, "{} metadata.name {what}: {answer}", kind.name)?;
        }
        for field in &kind.fields {
            let right = kind.example.pointer(&field.pointer);
            let right =
                right.with_context(|| format!("the example of {} lacks {}", kind.name, field.path()))?;
            for (what, wrong) in mutations::of(field, right) {
                let object = with(&kind.example, &field.pointer, wrong)?;
                let answer = answer(&client, Method::POST, &kind.url, &object).await?;
                writeln!(answers, "{} {} {what}: {answer}", kind.name, field.path())?;
            }
        }
    }
    compare("create.txt", &answers)
}

#[tokio::test]
async fn what_cannot_change_is_said_so() -> Result<()> {
    let control_plane = ControlPlane::start().await?;
    let client = control_plane.client().await?;
    let mut answers = String::new();
    for kind in kinds(&client).await? {
        let create = Request::post(&kind.url).header("content-type", "application/json");
        client.request::<Value>(create.body(serde_json::to_vec(&kind.example)?)?).await?;
        let name = kind.example["metadata"]["name"].as_str().unwrap_or_default();
        let url = format!("{}/{name}", kind.url);
        for field in &kind.fields {
            let right = kind.example.pointer(&field.pointer).unwrap_or(&Value::Null);
            for (what, value) in [("removed", None), ("changed", another(field, right))] {
                if what == "changed" && value.is_none() {
                    continue;
                }
                let changed = with(&kind.example, &field.pointer, value.clone())?;
                // A merge patch removes what is null in it.
                let patch = if value.is_none() {
                    with(&kind.example, &field.pointer, Some(Value::Null))?
                } else {
                    changed
                };
                let answer = answer(&client, Method::PATCH, &url, &json!({ "spec": patch["spec"] })).await?;
                writeln!(answers, "{} {} {what}: {answer}", kind.name, field.path())?;
            }
        }
    }
    compare("change.txt", &answers)
}

/// Another value that is as right, or nothing for lists, objects and words from a list.
fn another(field: &Field, right: &Value) -> Option<Value> {
    match right {
        Value::String(_) if field.schema["enum"].is_array() => None,
        Value::String(text) if text.ends_with("Gi") || text.ends_with("Mi") => Some(json!("97Mi")),
        Value::String(text) if text.chars().all(|c| c.is_ascii_lowercase() || "-0123456789".contains(c)) => {
            Some(json!(format!("{text}2")))
        }
        // Versions and times of day have no letters.
        Value::String(text) if mutations::other_case(text) == *text => Some(json!(text.replace('0', "1"))),
        Value::String(text) => Some(json!(mutations::other_case(text))),
        Value::Number(number) => number.as_i64().map(|number| json!(number + 1)),
        Value::Bool(value) => Some(json!(!value)),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The object with another value at one place.
fn with(object: &Value, pointer: &str, value: Option<Value>) -> Result<Value> {
    let mut object = object.clone();
    let (parent, name) = pointer.rsplit_once('/').context("a pointer has a last step")?;
    let name = name.replace("~1", "/");
    match (object.pointer_mut(parent), value) {
        (Some(Value::Object(entries)), Some(value)) => drop(entries.insert(name, value)),
        (Some(Value::Object(entries)), None) => drop(entries.remove(&name)),
        (Some(Value::Array(items)), Some(value)) => items[0] = value,
        (Some(Value::Array(items)), None) => drop(items.remove(0)),
        _ => bail!("nothing is at {parent}"),
    }
    Ok(object)
}

#[expect(clippy::disallowed_methods, reason = "a test has no args.rs: this is where its environment is read")]
fn compare(name: &str, answers: &str) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/api/accepted").join(name);
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, answers)?;
    }
    let accepted = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let differing = accepted.lines().zip(answers.lines()).find(|(old, new)| old != new);
    assert!(
        accepted == answers,
        "the API server answers differently from {}: {differing:?}; if that is meant, run UPDATE=1 cargo test -p e2e \
         --features control-plane --test api and read the diff",
        path.display()
    );
    Ok(())
}
