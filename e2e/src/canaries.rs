//! Secrets and the places where they must not stand.

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, ListParams},
    discovery::{Discovery, verbs},
};

/// Keys of our Secrets whose values are no secrets; the recipient is a public key.
const OPEN: [&str; 4] = ["admin-name", "admin-email", "expires-in", "recipient"];
/// Whatever is shorter stands somewhere by chance.
const SHORTEST: usize = 16;

/// Something that must stand nowhere, in one of the forms in which it might.
#[derive(Clone, Debug)]
pub struct Canary {
    what: String,
    form: String,
}

/// A secret as it is, as the API carries it, and in hexadecimal digits.
///
/// # Errors
/// When it is too short to be looked for.
pub fn forms(what: &str, value: &[u8]) -> Result<Vec<Canary>> {
    ensure!(SHORTEST <= value.len(), "{what} is too short to be looked for");
    let plain = String::from_utf8(value.to_vec()).with_context(|| format!("{what} is no text"))?;
    let forms =
        [("", plain), (" in base64", STANDARD.encode(value)), (" in hexadecimal", hex::encode(value))];
    Ok(forms.into_iter().map(|(how, form)| Canary { what: format!("{what}{how}"), form }).collect())
}

/// The secret values of a tenant's namespace.
///
/// # Errors
/// When they cannot be read, or there are fewer than a tenant has.
pub async fn of_namespace(client: Client, namespace: &str) -> Result<Vec<Canary>> {
    let secrets: Api<Secret> = Api::namespaced(client, namespace);
    let mut found = Vec::new();
    for secret in secrets.list(&ListParams::default()).await? {
        for (key, value) in secret.data.clone().unwrap_or_default() {
            if !OPEN.contains(&key.as_str()) {
                let what = format!("{key} of Secret {namespace}/{}", secret.name_any());
                found.extend(forms(&what, &value.0)?);
            }
        }
    }
    ensure!(8 < found.len(), "{namespace} has {} secrets", found.len());
    Ok(found)
}

/// Fails if one of them stands in a text; `place` says where it was found.
///
/// # Errors
/// Names the first that does, without its value.
pub fn none_stands_in(canaries: &[Canary], place: &str, text: &str) -> Result<()> {
    let found = canaries.iter().find(|canary| text.contains(&canary.form));
    ensure!(
        found.is_none(),
        "{} stands in {place}",
        found.map(|canary| canary.what.as_str()).unwrap_or_default()
    );
    Ok(())
}

/// Every object that can be listed but the Secrets, as JSON, each with its kind and name.
///
/// # Errors
/// When the API server does not answer.
pub async fn objects(client: &Client) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let discovery = Discovery::new(client.clone()).run().await?;
    for group in discovery.groups() {
        for (resource, capabilities) in group.recommended_resources() {
            if resource.kind == "Secret" || !capabilities.supports_operation(verbs::LIST) {
                continue;
            }
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            for object in api.list(&ListParams::default()).await? {
                let what = format!("{} {}", resource.kind, object.name_any());
                found.push((what, serde_json::to_string(&object)?));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_is_found_in_each_of_its_forms_and_its_value_is_not_told() {
        let canaries = forms("the password", b"correct horse battery").unwrap();
        for text in [
            "a correct horse battery b",
            "Y29ycmVjdCBob3JzZSBiYXR0ZXJ5",
            "636f727265637420686f727365206261747465727",
        ] {
            let text = format!("{text}9");
            let error = none_stands_in(&canaries, "a log", &text).unwrap_err().to_string();
            assert!(error.contains("the password") && error.ends_with("stands in a log"), "{error}");
            assert!(!error.contains("horse"), "{error}");
        }
        none_stands_in(&canaries, "a log", "correct horse batter").unwrap();
        assert!(forms("a word", b"short").is_err());
    }
}
