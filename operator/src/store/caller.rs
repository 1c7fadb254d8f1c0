//! Who is asking: a tenant's Job, or the operator. The Kubernetes API says so of a token.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{HeaderMap, StatusCode, header::AUTHORIZATION};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    authentication::v1::{TokenReview, TokenReviewSpec},
    core::v1::Namespace,
};
use kube::{Api, Client, ResourceExt, api::PostParams};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{path::Prefix, problem::Problem};
use crate::names;

/// For whom tokens must be meant.
pub const AUDIENCE: &str = names::STORE;
/// The service account of a tenant's Jobs.
pub const ACCOUNT: &str = names::child::STORE;

/// How long an answer is believed: what a Job makes of a few requests one after the other. A right that is taken away ends so much
/// later at most.
const BELIEVED: SignedDuration = SignedDuration::from_secs(20);
/// How many answers are kept.
const KEPT: usize = 1024;

/// Who is asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// A Job of a tenant.
    Tenant {
        /// Where its backups are.
        own: Prefix,
        /// Where others are, of which it may make its database.
        source: Option<Prefix>,
    },
    /// The operator, which reads everything and writes nothing.
    Operator,
}

/// What a caller wants to do beneath a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

impl Caller {
    /// Whether it may.
    pub(super) fn authorize(&self, access: Access, prefix: &Prefix) -> Result<(), Problem> {
        match self {
            Self::Tenant { own, .. } if own == prefix => Ok(()),
            Self::Tenant { source: Some(source), .. } if source == prefix && access == Access::Read => Ok(()),
            Self::Tenant { own, source: None } => {
                Err(Problem::forbidden(format!("this token is for {own} and nothing else")))
            }
            Self::Tenant { own, source: Some(source) } => Err(Problem::forbidden(format!(
                "this token is for {own}, and for reading {source}, and nothing else"
            ))),
            Self::Operator if access == Access::Read => Ok(()),
            Self::Operator => Err(Problem::forbidden("the operator reads backups and writes none")),
        }
    }
}

/// Asks the Kubernetes API who has a token.
pub(super) struct Callers {
    client: Client,
    /// The operator's account.
    operator: String,
    now: fn() -> Timestamp,
    /// By the token's hash, so that no token is kept.
    known: Mutex<HashMap<[u8; 32], Known>>,
}

struct Known {
    caller: Caller,
    until: Timestamp,
}

impl Callers {
    pub(super) fn new(client: Client, namespace: &str, now: fn() -> Timestamp) -> Self {
        let operator = format!("system:serviceaccount:{namespace}:{}", names::OPERATOR);
        Self { client, operator, now, known: Mutex::default() }
    }

    /// Finds out who sent a request.
    pub(super) async fn identify(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        let token = bearer(headers)?;
        let hash: [u8; 32] = Sha256::digest(token).into();
        let now = (self.now)();
        if let Some(known) = self.lock().get(&hash)
            && now < known.until
        {
            return Ok(known.caller.clone());
        }
        let caller = self.caller(&self.review(token).await?).await?;
        if let Some(expires) = expiry(token) {
            let known = Known { caller: caller.clone(), until: expires.min(now + BELIEVED) };
            let mut all = self.lock();
            if KEPT <= all.len() {
                all.retain(|_, known| now < known.until);
            }
            if all.len() < KEPT {
                all.insert(hash, known);
            }
        }
        Ok(caller)
    }

    /// The name of the account that a token is of.
    async fn review(&self, token: &str) -> Result<String, Problem> {
        let spec =
            TokenReviewSpec { audiences: Some(vec![AUDIENCE.to_owned()]), token: Some(token.to_owned()) };
        let review = TokenReview { spec, ..TokenReview::default() };
        let answer = Api::all(self.client.clone()).create(&PostParams::default(), &review).await;
        let status = answer.map_err(|error| unasked(&error))?.status.unwrap_or_default();
        // A server that knows no audiences would leave them out, and have looked at none.
        let is_meant = status.audiences.unwrap_or_default().iter().any(|audience| audience == AUDIENCE);
        match status.user.and_then(|user| user.username) {
            Some(name) if status.authenticated == Some(true) && is_meant => Ok(name),
            _ => Err(Problem::unauthenticated(
                "the Kubernetes API does not know the token for the audience tenantry-store, or it has expired",
            )),
        }
    }

    async fn caller(&self, account: &str) -> Result<Caller, Problem> {
        if account == self.operator {
            return Ok(Caller::Operator);
        }
        let refused = || Problem::forbidden(format!("{account} has no business here"));
        let words = account.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
        let Some((namespace, ACCOUNT)) = words else { return Err(refused()) };
        let tenant = names::tenant_of(namespace).ok_or_else(refused)?;
        let found = Api::<Namespace>::all(self.client.clone()).get_opt(namespace).await;
        let found = found.map_err(|error| unasked(&error))?.ok_or_else(refused)?;
        let labels = found.labels();
        let uid = labels.get(names::TENANT_UID_LABEL).map(String::as_str).unwrap_or_default();
        if labels.get(names::TENANT_LABEL).map(String::as_str) != Some(tenant) {
            return Err(refused());
        }
        let own = Prefix::parse(tenant, uid).map_err(|_| refused())?;
        Ok(Caller::Tenant { own, source: source(&found) })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whose backups the Jobs of a namespace may read besides their own tenant's. What is not written as it should be allows nothing.
fn source(namespace: &Namespace) -> Option<Prefix> {
    let written = namespace.annotations().get(names::RESTORE_FROM)?;
    let source = written.split_once('/').and_then(|(tenant, uid)| Prefix::parse(tenant, uid).ok());
    if source.is_none() {
        let (namespace, annotation) = (namespace.name_any(), names::RESTORE_FROM);
        tracing::warn!(namespace, annotation, written, "an annotation is not NAME/UID, so it allows nothing");
    }
    source
}

fn unasked(error: &kube::Error) -> Problem {
    let message = format!("the Kubernetes API could not be asked who this is: {error}");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "AuthenticationUnavailable", message)
}

fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let token = match (all.next(), all.next()) {
        (Some(one), None) => one.to_str().ok().and_then(|value| value.split_once(' ')),
        _ => None,
    };
    match token {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() => {
            Ok(token.trim())
        }
        _ => Err(Problem::unauthenticated("send one header Authorization: Bearer TOKEN")),
    }
}

/// When a token expires, as it says itself. Whether it is genuine has been found out by others.
fn expiry(token: &str) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Claims {
        exp: i64,
    }
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    Timestamp::from_second(serde_json::from_slice::<Claims>(&claims).ok()?.exp).ok()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn prefix(tenant: &str) -> Prefix {
        Prefix::parse(tenant, "0b7f8f0e-5a1b-4c3d-9e8f-001122334455").unwrap()
    }

    #[test]
    fn a_tenant_has_its_own_and_the_operator_reads() {
        let acme = Caller::Tenant { own: prefix("acme"), source: None };
        for access in [Access::Read, Access::Write] {
            assert!(acme.authorize(access, &prefix("acme")).is_ok());
            assert_eq!(acme.authorize(access, &prefix("bluesky")).unwrap_err().status, StatusCode::FORBIDDEN);
        }
        let earlier = Prefix::parse("acme", "ffffffff-5a1b-4c3d-9e8f-001122334455").unwrap();
        assert!(acme.authorize(Access::Read, &earlier).is_err(), "another tenant that had this name");
        assert!(Caller::Operator.authorize(Access::Read, &prefix("acme")).is_ok());
        assert!(Caller::Operator.authorize(Access::Write, &prefix("acme")).is_err());
    }

    #[test]
    fn a_tenant_that_is_made_from_anothers_backup_reads_that_and_writes_its_own() {
        let acme = Caller::Tenant { own: prefix("acme"), source: Some(prefix("bluesky")) };
        assert!(acme.authorize(Access::Read, &prefix("bluesky")).is_ok());
        assert!(acme.authorize(Access::Write, &prefix("bluesky")).is_err());
        assert!(acme.authorize(Access::Write, &prefix("acme")).is_ok());
        assert!(acme.authorize(Access::Read, &prefix("cobalt")).is_err());
        let earlier = Prefix::parse("bluesky", "ffffffff-5a1b-4c3d-9e8f-001122334455").unwrap();
        assert!(acme.authorize(Access::Read, &earlier).is_err());
    }

    #[rstest]
    #[case("bluesky/0b7f8f0e-5a1b-4c3d-9e8f-001122334455", true)]
    #[case("", false)]
    #[case("bluesky", false)]
    #[case("bluesky/", false)]
    #[case("bluesky/*", false)]
    #[case("*/0b7f8f0e-5a1b-4c3d-9e8f-001122334455", false)]
    #[case("bluesky/0B7F8F0E-5a1b-4c3d-9e8f-001122334455", false)]
    #[case("/bluesky/0b7f8f0e-5a1b-4c3d-9e8f-001122334455", false)]
    #[case("bluesky/0b7f8f0e-5a1b-4c3d-9e8f-001122334455/", false)]
    #[case(" bluesky/0b7f8f0e-5a1b-4c3d-9e8f-001122334455", false)]
    #[case("bluesky/0b7f8f0e-5a1b-4c3d-9e8f-001122334455,acme/0b7f8f0e-5a1b-4c3d-9e8f-001122334455", false)]
    fn one_prefix_is_named_or_none(#[case] written: &str, #[case] ok: bool) {
        let mut namespace = Namespace::default();
        assert_eq!(source(&namespace), None);
        namespace.annotations_mut().insert(names::RESTORE_FROM.to_owned(), written.to_owned());
        assert_eq!(source(&namespace), ok.then(|| prefix("bluesky")));
    }

    #[rstest]
    #[case(&["Bearer abc"], Some("abc"))]
    #[case(&["bearer abc"], Some("abc"))]
    #[case(&["Bearer "], None)]
    #[case(&["Basic abc"], None)]
    #[case(&["Bearer a", "Bearer b"], None)]
    #[case(&[], None)]
    fn there_is_one_token(#[case] values: &[&'static str], #[case] token: Option<&str>) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, http::HeaderValue::from_static(value));
        }
        assert_eq!(bearer(&headers).ok(), token);
    }

    #[test]
    fn a_token_says_when_it_expires() {
        let claims = BASE64_URL_SAFE_NO_PAD.encode(r#"{"exp": 60, "sub": "x"}"#);
        assert_eq!(expiry(&format!("h.{claims}.s")), Timestamp::from_second(60).ok());
        assert_eq!(expiry("opaque"), None);
    }
}
