//! What the process can be told to do.

pub mod backup;
pub mod doctor;
pub mod drill;
mod first_sign_in;
pub mod housekeeping;
pub mod migrate;
mod report;
pub mod serve;
mod stop;

pub use self::{
    first_sign_in::{FirstSignIn, read as read_first_sign_in},
    report::{Outcome, Problem},
};
