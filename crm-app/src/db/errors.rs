//! What a database error means to us, without the values that its text may hold.

use std::fmt;

/// Somebody is in a database that is to be dropped.
pub(crate) const OBJECT_IN_USE: &str = "55006";

/// What kind of failure a database error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Cannot be reached, is starting or stopping, or gave up waiting: try again.
    Unavailable,
    /// A mistake of ours.
    Ours,
}

/// Sorts an error.
pub fn classify(error: &sqlx::Error) -> Failure {
    use sqlx::Error as E;
    match error {
        E::Io(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed => Failure::Unavailable,
        E::Database(database) => match database.code().as_deref() {
            Some(code) if is_unavailable(code) => Failure::Unavailable,
            _ => Failure::Ours,
        },
        _ => Failure::Ours,
    }
}

/// Whether a SQLSTATE is one of those that pass: connection, resources, operator intervention (with statement timeouts),
/// locks, serialization, a database that is not made yet, a standby.
pub(crate) fn is_unavailable(sqlstate: &str) -> bool {
    ["08", "53", "57", "40"].iter().any(|class| sqlstate.starts_with(class))
        || ["55P03", "25006", "3D000"].contains(&sqlstate)
}

/// The SQLSTATE, if the server answered with one.
pub fn sqlstate(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

/// The constraint that was broken.
pub fn constraint(error: &sqlx::Error) -> Option<&str> {
    error.as_database_error().and_then(|e| e.constraint())
}

/// Names the constraint at the call that can break it.
pub trait OnConstraint<T> {
    /// Turns the violation of one constraint into another error.
    fn on_constraint<E: From<sqlx::Error>>(self, name: &str, error: impl FnOnce() -> E) -> Result<T, E>;
}

impl<T> OnConstraint<T> for Result<T, sqlx::Error> {
    fn on_constraint<E: From<sqlx::Error>>(self, name: &str, error: impl FnOnce() -> E) -> Result<T, E> {
        self.map_err(|source| if constraint(&source) == Some(name) { error() } else { source.into() })
    }
}

/// Prints an error without the server's message: `invalid input syntax: "…"` would print a row's value.
pub(crate) struct Discreet<'a>(pub(crate) &'a sqlx::Error);

impl fmt::Display for Discreet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            sqlx::Error::Database(database) => {
                write!(f, "SQLSTATE {}", database.code().as_deref().unwrap_or("unknown"))?;
                match database.constraint() {
                    Some(constraint) => write!(f, ", constraint {constraint}"),
                    None => Ok(()),
                }
            }
            sqlx::Error::ColumnDecode { index, .. } => write!(f, "column {index} cannot be decoded"),
            other => write!(f, "{other}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_connection_is_not_our_mistake() {
        let lost = sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into());
        assert_eq!(classify(&lost), Failure::Unavailable);
        assert_eq!(classify(&sqlx::Error::PoolTimedOut), Failure::Unavailable);
        assert_eq!(classify(&sqlx::Error::RowNotFound), Failure::Ours);
    }
}
