//! Links that hold once: how long.

use jiff::SignedDuration;

/// An invitation may wait over a long weekend.
pub const INVITATION_HOLDS: SignedDuration = SignedDuration::from_hours(7 * 24);
/// The page follows the link to an exit bundle by itself; people may follow it later, from a slow machine.
pub const EXIT_LINK_HOLDS: SignedDuration = SignedDuration::from_mins(5);
