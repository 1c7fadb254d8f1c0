//! What the process can be told to do.

pub mod backup;
pub mod doctor;
pub mod drill;
pub mod drop_database;
pub mod export;
mod first_sign_in;
pub mod housekeeping;
pub mod migrate;
mod proof;
mod report;
pub mod restore;
pub mod serve;
mod smoke;
mod stop;

pub use self::{
    first_sign_in::{FirstSignIn, read as read_first_sign_in},
    report::{Outcome, Problem},
};
