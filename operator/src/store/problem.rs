//! Refusals and failures, as those who asked are told of them.

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde_json::json;

use super::{backend, body::Answer, body::whole, manifest, path::InvalidPath};

/// After how many seconds it makes sense to try again what the door had no room for.
const RETRY_AFTER_SECONDS: u16 = 10;
/// The reason of what the door has no room for, or is not ready for.
const BUSY: &str = "Busy";

/// Why a request was not carried out: a word for machines, a sentence for people.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Problem {
    pub(super) fn new(status: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { status, reason, message: message.into() }
    }

    pub(super) fn unauthenticated(message: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthenticated", message)
    }

    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    pub(super) fn already_exists(what: impl std::fmt::Display) -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "AlreadyExists",
            format!("{what} is there, and nothing is ever overwritten: choose another backup id"),
        )
    }

    pub(super) fn busy(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, BUSY, message)
    }

    pub(super) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "TooLarge", message)
    }

    /// Whether somebody who runs the platform should see it in the log.
    pub(super) fn is_fault(&self) -> bool {
        self.status.is_server_error() && !self.is_busy()
    }

    /// Whether it makes sense to ask again in a moment.
    pub(super) fn is_busy(&self) -> bool {
        self.reason == BUSY
    }

    pub(super) fn answer(&self) -> Response<Answer> {
        let text = json!({"reason": self.reason, "message": self.message}).to_string();
        let mut response = Response::new(whole(Bytes::from(text)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match self.status {
            StatusCode::UNAUTHORIZED => headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")),
            StatusCode::METHOD_NOT_ALLOWED => headers.insert(ALLOW, HeaderValue::from_static("GET, PUT")),
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS))
            }
            _ => None,
        };
        response
    }
}

impl From<InvalidPath> for Problem {
    fn from(error: InvalidPath) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "InvalidPath", error.to_string())
    }
}

impl From<manifest::Invalid> for Problem {
    fn from(error: manifest::Invalid) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "InvalidManifest", error.to_string())
    }
}

impl From<backend::Error> for Problem {
    fn from(error: backend::Error) -> Self {
        let status = match error {
            backend::Error::AlreadyExists => return Self::already_exists("the object"),
            backend::Error::OutOfSpace(_) => StatusCode::INSUFFICIENT_STORAGE,
            backend::Error::Unreachable(_) => StatusCode::GATEWAY_TIMEOUT,
            backend::Error::CredentialsMissing(_)
            | backend::Error::AccessDenied(_)
            | backend::Error::BucketMissing(_)
            | backend::Error::ClaimNotMounted(_)
            | backend::Error::Misconfigured(_)
            | backend::Error::Failing(_) => StatusCode::BAD_GATEWAY,
            backend::Error::TooLarge(_) => return Self::too_large(error.to_string()),
        };
        Self::new(status, error.reason(), error.to_string())
    }
}
