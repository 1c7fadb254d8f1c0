//! Removing an object from a bucket, for good.
//!
//! A plain `DELETE` does so only where nothing is versioned. Elsewhere, and so in every bucket with Object Lock, it puts a
//! marker over the object and leaves what it takes up. Objects here are never replaced, so that each has one version: that is
//! removed by its id, which leaves neither a marker nor an older version behind. `object_store` cannot do that, but signs
//! the addresses to do it with.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use jiff::Timestamp;
use object_store::{
    aws::AmazonS3,
    client::{HttpClient, HttpRequestBody},
    path::Path,
    signer::{SignedUrlOptions, Signer},
};

use super::{
    Error, Removal,
    answers::{FULL, cause, classify, code},
};

/// How long an address is good for.
const SIGNED_FOR: Duration = Duration::from_mins(5);
/// How much of a refusal is read.
const MAX_REFUSAL: usize = 64 << 10;
/// What storages say of an object that is locked, in lower case: AWS, versitygw and Ceph; MinIO.
const LOCKED: [&str; 2] = ["object lock", "worm protected"];

/// Removes objects of a bucket.
#[derive(Debug)]
pub(super) struct Remover {
    pub(super) store: Arc<AmazonS3>,
    pub(super) http: HttpClient,
    pub(super) bucket: String,
    pub(super) now: fn() -> Timestamp,
}

/// What a bucket says of an object before it is removed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Head {
    version: Option<String>,
    locked_until: Option<Timestamp>,
    is_held: bool,
}

impl Remover {
    /// Removes an object, if it is there and not locked.
    pub(super) async fn remove(&self, path: &Path) -> Result<Removal, Error> {
        let (status, headers, text) = self.send(Method::HEAD, path, None).await?;
        match status {
            // 405 is a marker over an object that somebody else deleted.
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => return Ok(Removal::Removed),
            status if !status.is_success() => return Err(self.refused(status, &text)),
            _ => {}
        }
        let head = read(&headers);
        if head.is_held {
            return Ok(Removal::Locked(None));
        }
        if head.locked_until.is_some_and(|until| (self.now)() < until) {
            return Ok(Removal::Locked(head.locked_until));
        }
        let (status, _, text) = self.send(Method::DELETE, path, head.version).await?;
        match status {
            status if status.is_success() => Ok(Removal::Removed),
            StatusCode::NOT_FOUND if code(&text) != Some("NoSuchBucket") => Ok(Removal::Removed),
            _ if is_locked(&text) => Ok(Removal::Locked(head.locked_until)),
            status => Err(self.refused(status, &text)),
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &Path,
        version: Option<String>,
    ) -> Result<(StatusCode, HeaderMap, String), Error> {
        let options = SignedUrlOptions::new().with_query(version.map(|version| ("versionId", version)));
        let url = self.store.signed_url_opts(method.clone(), path, SIGNED_FOR, &options).await;
        let url = url.map_err(|error| classify(&error, &self.bucket))?;
        let request = Request::builder().method(method).uri(url.as_str()).body(HttpRequestBody::empty());
        let request = request.map_err(|error| Error::Misconfigured(error.to_string()))?;
        let unreachable = |error: &dyn std::error::Error| Error::Unreachable(cause(error));
        let response = self.http.execute(request).await.map_err(|error| unreachable(&error))?;
        let (parts, body) = response.into_parts();
        let body = Limited::new(body, MAX_REFUSAL).collect().await.map_err(|error| unreachable(&*error))?;
        Ok((parts.status, parts.headers, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
    }

    fn refused(&self, status: StatusCode, text: &str) -> Error {
        let word = code(text);
        let short = word.map_or_else(|| status.to_string(), str::to_owned);
        match (status, word) {
            (_, Some("NoSuchBucket")) => Error::BucketMissing(self.bucket.clone()),
            (_, Some(word)) if FULL.contains(&word) => Error::OutOfSpace(short),
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => Error::AccessDenied(short),
            _ => Error::Failing(short),
        }
    }
}

fn read(headers: &HeaderMap) -> Head {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Head {
        version: text("x-amz-version-id").map(str::to_owned),
        locked_until: text("x-amz-object-lock-retain-until-date").and_then(|until| until.parse().ok()),
        is_held: text("x-amz-object-lock-legal-hold").is_some_and(|hold| hold.eq_ignore_ascii_case("on")),
    }
}

fn is_locked(refusal: &str) -> bool {
    let refusal = refusal.to_lowercase();
    LOCKED.iter().any(|words| refusal.contains(words))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn a_head_tells_version_and_lock() {
        assert_eq!(read(&HeaderMap::new()), Head::default());
        let pairs = [
            ("x-amz-version-id", "3HL4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY"),
            ("x-amz-object-lock-retain-until-date", "2026-12-22T14:00:00.000Z"),
            ("x-amz-object-lock-legal-hold", "ON"),
        ];
        let headers = pairs.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let head = read(&headers.into_iter().collect());
        assert_eq!(head.version.as_deref(), Some("3HL4kqtJlcpXroDTDmJ+rmSpXd3dIbrHY"));
        assert_eq!(head.locked_until, "2026-12-22T14:00:00Z".parse().ok());
        assert!(head.is_held);
    }

    #[rstest]
    #[case(
        "<Code>AccessDenied</Code><Message>Access Denied because object protected by object lock.</Message>",
        true
    )]
    #[case(
        "<Code>InvalidRequest</Code><Message>Object is WORM protected and cannot be overwritten</Message>",
        true
    )]
    #[case(
        "<Code>AccessDenied</Code><Message>not authorized to perform: s3:DeleteObjectVersion</Message>",
        false
    )]
    #[case("", false)]
    fn a_lock_is_told_from_a_want_of_rights(#[case] refusal: &str, #[case] locked: bool) {
        assert_eq!(is_locked(refusal), locked);
    }
}
