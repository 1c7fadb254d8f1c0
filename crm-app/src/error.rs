//! The one HTTP error: status and problem JSON (RFC 9457), logged once, here.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    api::companies::Company,
    db::{Failure, classify, sqlstate},
    domain::Invalid,
};

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody, or a session that has ended.
    #[error("please sign in")]
    Unauthorized,
    /// The address or the password is wrong; which one is not said.
    #[error("no such address and password")]
    WrongCredentials,
    /// Somebody, but not allowed.
    #[error("{0}")]
    Forbidden(&'static str),
    /// The workspace is read-only.
    #[error("the workspace is read-only")]
    ReadOnly,
    /// Not there.
    #[error("there is nothing at this address")]
    NotFound,
    /// There, but not with this method.
    #[error("this address does not take this method")]
    MethodNotAllowed,
    /// Fields that are not what they must be.
    #[error("some values cannot be accepted")]
    Invalid(Vec<FieldError>),
    /// A request that cannot be understood at all.
    #[error("{1}")]
    Malformed(StatusCode, String),
    /// A change without saying of which version.
    #[error("the If-Match header must hold the version that is to be changed")]
    PreconditionRequired,
    /// Something else has taken the place.
    #[error("{detail}")]
    Conflict {
        /// What.
        detail: &'static str,
        /// Which field.
        pointer: Option<&'static str>,
    },
    /// Somebody else was faster.
    #[error("the record has changed since it was read")]
    Stale(Box<Company>),
    /// The plan has no more seats.
    #[error("all {seats} seats of the plan are taken")]
    SeatLimit {
        /// How many it has.
        seats: u32,
    },
    /// Unknown, expired or spent; which one is not said.
    #[error("this link does not work any more; ask for a new one")]
    LinkInvalid,
    /// One exit bundle is being fetched already.
    #[error("an exit bundle is being fetched already; there is one at a time")]
    ExportRunning,
    /// The server was started without what an exit bundle has to say of itself.
    #[error("this server makes no exit bundles: it was started without --tenant and --image")]
    ExportUnavailable,
    /// Too many tries.
    #[error("too many tries; wait a little")]
    RateLimited {
        /// How long.
        retry_after_s: i64,
    },
    /// More work than there is room for.
    #[error("too much to do at the moment; try again")]
    Busy,
    /// It took too long.
    #[error("this took too long; try again")]
    TimedOut,
    /// The database said no.
    #[error("the database did not answer as expected")]
    Database(#[source] sqlx::Error),
    /// Hashing failed.
    #[error("the password could not be hashed")]
    PasswordHash(#[source] argon2::password_hash::Error),
}

impl From<sqlx::Error> for Error {
    fn from(source: sqlx::Error) -> Self {
        Self::Database(source)
    }
}

impl Error {
    /// One field that cannot be accepted.
    pub fn invalid(pointer: &str, reason: Invalid) -> Self {
        Self::Invalid(vec![FieldError::new(pointer, reason)])
    }

    fn kind(&self) -> (StatusCode, Kind) {
        match self {
            Self::Unauthorized | Self::WrongCredentials => (StatusCode::UNAUTHORIZED, Kind::Unauthorized),
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, Kind::Forbidden),
            Self::ReadOnly => (StatusCode::FORBIDDEN, Kind::ReadOnly),
            Self::NotFound => (StatusCode::NOT_FOUND, Kind::NotFound),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, Kind::Invalid),
            Self::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, Kind::Invalid),
            Self::Malformed(status, _) => (*status, Kind::Invalid),
            Self::PreconditionRequired => (StatusCode::PRECONDITION_REQUIRED, Kind::Invalid),
            Self::Conflict { .. } => (StatusCode::CONFLICT, Kind::Conflict),
            Self::Stale(_) => (StatusCode::CONFLICT, Kind::Stale),
            Self::SeatLimit { .. } => (StatusCode::FORBIDDEN, Kind::SeatLimit),
            Self::LinkInvalid => (StatusCode::GONE, Kind::LinkInvalid),
            Self::ExportRunning => (StatusCode::CONFLICT, Kind::ExportRunning),
            Self::ExportUnavailable => (StatusCode::NOT_IMPLEMENTED, Kind::ExportUnavailable),
            Self::RateLimited { .. } => (StatusCode::TOO_MANY_REQUESTS, Kind::RateLimited),
            Self::Busy | Self::TimedOut => (StatusCode::SERVICE_UNAVAILABLE, Kind::Unavailable),
            Self::Database(source) => match classify(source) {
                Failure::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, Kind::Unavailable),
                Failure::Ours => (StatusCode::INTERNAL_SERVER_ERROR, Kind::Internal),
            },
            Self::PasswordHash(_) => (StatusCode::INTERNAL_SERVER_ERROR, Kind::Internal),
        }
    }

    /// Errors of the caller are in the request's own log line; ours are explained.
    fn log(&self) {
        match self {
            Self::Database(source) => tracing::error!(
                sqlstate = sqlstate(source),
                error = %crate::db::Discreet(source),
                "request.failed"
            ),
            Self::PasswordHash(source) => tracing::error!(error = %source, "request.failed"),
            Self::Busy | Self::TimedOut => tracing::warn!(error = %self, "request.refused"),
            _ => {}
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        self.log();
        let (status, kind) = self.kind();
        let retry_after_s = match &self {
            Self::RateLimited { retry_after_s } => Some(*retry_after_s),
            _ if status == StatusCode::SERVICE_UNAVAILABLE => Some(1),
            _ => None,
        };
        let problem = Problem {
            kind,
            title: kind.title(),
            status: status.as_u16(),
            detail: self.to_string(),
            errors: match &self {
                Self::Invalid(errors) => errors.clone(),
                Self::Conflict { pointer: Some(pointer), .. } => {
                    vec![FieldError { pointer: (*pointer).to_owned(), code: "taken" }]
                }
                _ => Vec::new(),
            },
            current: match self {
                Self::Stale(current) => Some(current),
                _ => None,
            },
        };
        let mut response = (status, Json(problem)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// What went wrong (RFC 9457), as `application/problem+json`.
#[derive(Serialize, ToSchema)]
pub struct Problem {
    #[serde(rename = "type")]
    kind: Kind,
    /// The kind in words.
    title: &'static str,
    /// The HTTP status again.
    status: u16,
    /// This case in words, for developers; clients translate `type` and `errors`.
    detail: String,
    /// Which fields, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<FieldError>,
    /// With `stale`: the record as it is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    current: Option<Box<Company>>,
}

/// The kind of a problem: stable words that clients act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
#[schema(as = ProblemType)]
pub enum Kind {
    /// Sign in.
    Unauthorized,
    /// Not allowed.
    Forbidden,
    /// Nothing can be changed now.
    ReadOnly,
    /// Not there.
    NotFound,
    /// Cannot be accepted as it is.
    Invalid,
    /// Taken, or against a rule about other records.
    Conflict,
    /// Read again, then change.
    Stale,
    /// No more seats.
    SeatLimit,
    /// A one-time link that does not work any more.
    LinkInvalid,
    /// Wait until the other one is done.
    ExportRunning,
    /// Ask whoever runs the server.
    ExportUnavailable,
    /// Wait.
    RateLimited,
    /// Our mistake.
    Internal,
    /// Try again soon.
    Unavailable,
}

impl Kind {
    const fn title(self) -> &'static str {
        match self {
            Self::Unauthorized => "Not signed in",
            Self::Forbidden => "Not allowed",
            Self::ReadOnly => "Read-only",
            Self::NotFound => "Not found",
            Self::Invalid => "Not acceptable",
            Self::Conflict => "Conflict",
            Self::Stale => "Changed meanwhile",
            Self::SeatLimit => "No seat left",
            Self::LinkInvalid => "Link not valid",
            Self::ExportRunning => "Being fetched already",
            Self::ExportUnavailable => "No exit bundles here",
            Self::RateLimited => "Too many tries",
            Self::Internal => "Internal error",
            Self::Unavailable => "Unavailable",
        }
    }
}

/// A field that cannot be accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// JSON pointer into the body, or the name of a header or parameter.
    #[schema(example = "/name")]
    pub pointer: String,
    /// Why: a stable word.
    #[schema(example = "required")]
    pub code: &'static str,
}

impl FieldError {
    /// Says why.
    pub fn new(pointer: &str, reason: Invalid) -> Self {
        Self { pointer: pointer.to_owned(), code: reason.code() }
    }
}
