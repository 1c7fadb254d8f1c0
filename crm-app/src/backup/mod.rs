//! Backups: taken, fetched, restored.
//!
//! - [`take()`]: one snapshot through `pg_dump`, `age` encryption and checksums to the door, then the manifest;
//! - [`restore()`]: the way back, from the door into an empty database (`command::drill` proves backups by it, and
//!   `command::restore` brings them back);
//! - `manifest`: what is known of a backup; `mark`: what is known of a restored database; `door`: who keeps them; `seal`:
//!   encryption; `sending`: to the door while it is made; `tally`: checksums; `program`: PostgreSQL's programs; `problem`: how it ends; `deadline`: when at the latest.

mod deadline;
mod door;
mod manifest;
mod mark;
mod problem;
mod program;
mod restore;
mod seal;
mod sending;
mod take;
mod tally;

pub use self::{
    deadline::Deadline,
    door::Door,
    manifest::{App, BackupId, Manifest, Reason, Tenant},
    mark::{Mark, Restored, Run},
    problem::{Outcome, Problem, Step},
    program::Programs,
    restore::restore,
    seal::{Identities, Recipients},
    take::{Plan, take},
    tally::Sum,
};
pub(crate) use self::{
    program::Running,
    sending::{PIECES, Sealed, sent_while_made},
    take::{problem as dump_problem, taken as snapshot},
    tally::Tally,
};
