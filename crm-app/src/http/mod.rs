//! What every request passes through, whatever it asks for.

pub mod extract;
pub mod headers;
pub mod observe;
