//! Values of flags that are more than text.

use std::{str::FromStr, time::Duration};

use jiff::{SignedDuration, Timestamp};

use crate::backup::BackupId;

/// Scheme and host (with port) of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl {
    /// Whether browsers come by TLS.
    pub https: bool,
    /// Host and, unless it is the scheme's own, port.
    pub authority: String,
}

impl FromStr for PublicUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let uri: axum::http::Uri = text.parse().map_err(|_| "not an address")?;
        let https = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err("an address begins with http:// or https://"),
        };
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err("only scheme, host and port, without a path");
        }
        let authority = uri.authority().ok_or("the host is missing")?.as_str().to_ascii_lowercase();
        Ok(Self { https, authority })
    }
}

/// Where the backup door is. Without TLS: what passes it is encrypted already, and it is reached inside the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoorUrl {
    /// Host and, unless it is 80, port.
    pub authority: String,
}

impl FromStr for DoorUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse()? {
            PublicUrl { https: false, authority } => Ok(Self { authority }),
            PublicUrl { https: true, .. } => Err("the door is reached by http://"),
        }
    }
}

/// Which backup is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The last one that was completed.
    Newest,
    /// The last one whose snapshot was taken until then.
    Before(Timestamp),
    /// This one.
    Id(BackupId),
}

impl FromStr for Which {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("before", time)) => time
                .parse()
                .map(Self::Before)
                .map_err(|_| "not a time, as before:2026-11-22T01:00:00Z has one"),
            _ if text == "newest" => Ok(Self::Newest),
            _ => text.parse().map(Self::Id),
        }
    }
}

/// The name or uid of an object: it becomes a part of an address.
pub(super) fn name(text: &str) -> Result<String, &'static str> {
    let is_name = !text.is_empty()
        && !text.starts_with('.')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte));
    is_name.then(|| text.to_owned()).ok_or("only a-z, 0-9, - and . make a name")
}

/// It becomes a part of a YAML file.
pub(super) fn image(text: &str) -> Result<String, &'static str> {
    let is_image = text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._/:@".contains(&byte));
    is_image
        .then(|| text.to_owned())
        .ok_or("not a reference to an image, as registry.example.com/crm@sha256:... is one")
}

/// A kind and a uid: it becomes a part of the audit log.
pub(super) fn request(text: &str) -> Result<String, &'static str> {
    let is_request = !text.is_empty()
        && text.len() <= 128
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-./".contains(&byte));
    is_request.then(|| text.to_owned()).ok_or("not a request, as TenantRestore/5f0c6a2e is one")
}

/// As people write it.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let parsed: SignedDuration = text.parse().map_err(|e: jiff::Error| e.to_string())?;
    Duration::try_from(parsed).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("acme.crm.localhost")]
    #[case("ftp://acme.example")]
    #[case("https://acme.example/crm")]
    fn other_addresses_are_refused(#[case] text: &str) {
        assert!(text.parse::<PublicUrl>().is_err());
    }

    #[rstest]
    #[case("TenantRestore/5f0c6a2e-2f5e-4a53", true)]
    #[case("", false)]
    #[case("somebody, or so", false)]
    #[case(&"a".repeat(129), false)]
    fn a_request_is_a_kind_and_a_uid(#[case] text: &str, #[case] is_request: bool) {
        assert_eq!(request(text).is_ok(), is_request);
    }

    #[rstest]
    #[case("registry.example.com:5000/tenantry/crm@sha256:ab12", true)]
    #[case("crm:1.2", true)]
    #[case("", false)]
    #[case("crm:1.2\n    privileged: true", false)]
    #[case("{crm}", false)]
    fn an_image_is_a_reference_and_nothing_else(#[case] text: &str, #[case] is_image: bool) {
        assert_eq!(image(text).is_ok(), is_image);
    }
}
