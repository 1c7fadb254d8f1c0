//! Rules without input or output: what a value must be before anything else sees it.
//!
//! Values are parsed once, into types that cannot hold anything else; nothing after that checks again.

pub mod company;
pub mod email;
pub mod link;
pub mod money;
pub mod password;
pub mod patch;
pub mod phone;
pub mod search;
pub mod text;
pub mod uscc;
pub mod user;
pub mod website;

/// Why a value was refused: a short stable word that clients translate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Nothing, or only blanks, where something must be.
    #[error("required")]
    Required,
    /// More characters than there is room for.
    #[error("too-long")]
    TooLong,
    /// Fewer characters than are safe.
    #[error("too-short")]
    TooShort,
    /// Not of the expected form.
    #[error("format")]
    Format,
    /// The form is right, the check character is not: a typing mistake.
    #[error("checksum")]
    Checksum,
    /// Less or more than the field can hold.
    #[error("range")]
    Range,
    /// A password that attackers try first.
    #[error("common")]
    Common,
    /// Refers to something that is not there.
    #[error("unknown")]
    Unknown,
    /// Not the secret that it should be.
    #[error("wrong")]
    Wrong,
}

impl Invalid {
    /// The word that goes to clients.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::TooLong => "too-long",
            Self::TooShort => "too-short",
            Self::Format => "format",
            Self::Checksum => "checksum",
            Self::Range => "range",
            Self::Common => "common",
            Self::Unknown => "unknown",
            Self::Wrong => "wrong",
        }
    }
}
