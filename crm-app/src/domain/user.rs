//! People who use the CRM.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::text::Line;

/// A person's name.
pub type PersonName = Line<100>;

/// What a person may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Role {
    /// Everything, and manages people.
    Admin,
    /// Works with records.
    Member,
}

impl Role {
    /// The word for it, in JSON, SQL and the audit log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Member => "member",
        }
    }
}

/// Where a person stands. People are deactivated, never deleted: their records keep an author.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Status {
    /// Has a link, has not yet set a password.
    Invited,
    /// Can sign in.
    Active,
    /// Cannot sign in and takes no seat.
    Deactivated,
}

impl Status {
    /// The word for it, in JSON, SQL and the audit log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invited => "invited",
            Self::Active => "active",
            Self::Deactivated => "deactivated",
        }
    }

    /// Whether a person in this state counts against the plan's seats.
    pub const fn takes_a_seat(self) -> bool {
        match self {
            Self::Invited | Self::Active => true,
            Self::Deactivated => false,
        }
    }
}
