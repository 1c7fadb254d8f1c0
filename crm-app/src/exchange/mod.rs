//! Data on their way out: the exit bundle.
//!
//! - [`bundle`]: everything that a customer needs to run on its own, of one moment, in one archive;
//! - [`tables`]: what of each table is shown in open files, and what is not;
//! - [`file`]: a bundle as a file; [`delivery`]: encrypted, to the backup door; [`download`]: to somebody's browser;
//! - `archive`: a zip archive that is written while its files are made.

mod archive;
pub mod bundle;
pub mod delivery;
pub mod download;
pub mod file;
pub mod tables;
