//! Objects of ours that cannot be read: set aside, told, and otherwise left alone.
//!
//! The API server checks what is written, not what has been stored: an object may come from an older schema, from a newer
//! operator that was rolled back, or from an edit of the CRD. One such object must not keep the operator from all others,
//! and nothing of it may go because it cannot be read: its children stay, its addresses stay its own and keep leading to
//! it, and the Plans and Releases in use stay in use. When it is repaired, it is like any other again.

mod guard;
mod registry;
mod report;
mod salvage;

pub use guard::{Guarded, Malformed};
pub use registry::Registry;
pub use report::report;
pub use salvage::fleet;
