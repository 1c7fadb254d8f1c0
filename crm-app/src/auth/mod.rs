//! Who is asking, and whether the request is really theirs.

pub mod origin;
pub mod password;
pub mod session;
pub mod throttle;
pub mod token;
