//! One-time links: how long they hold.

use jiff::SignedDuration;

/// An invitation may wait over a long weekend.
pub const INVITATION_HOLDS: SignedDuration = SignedDuration::from_hours(7 * 24);
