//! Kubernetes events from outcomes: what `kubectl describe tenant` shows.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Resource,
    runtime::events::{Event, EventType},
};

use crate::{api::Tenant, cluster::Cluster};

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The course of things.
    Normal,
    /// Somebody may have to act.
    Warning,
}

/// The API's limit for an event's text, in bytes.
const MAX_NOTE_BYTES: usize = 1024;

impl Cluster {
    /// Publishes an event about a tenant; repeated ones become a series.
    ///
    /// An event that cannot be published is logged and forgotten: it must never hold up the work that it speaks of.
    pub async fn event(&self, tenant: &Tenant, severity: Severity, action: &str, reason: &str, note: &str) {
        self.event_about(&tenant.object_ref(&()), severity, action, reason, note).await;
    }

    /// Like [`Self::event`], about any object.
    pub async fn event_about(
        &self,
        about: &ObjectReference,
        severity: Severity,
        action: &str,
        reason: &str,
        note: &str,
    ) {
        let event = Event {
            type_: match severity {
                Severity::Normal => EventType::Normal,
                Severity::Warning => EventType::Warning,
            },
            reason: reason.to_owned(),
            note: Some(truncated(note, MAX_NOTE_BYTES)),
            action: action.to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, about).await {
            tracing::warn!(error = %error, reason, "event was not published");
        }
    }
}

/// At most that many bytes, cut between characters.
pub fn truncated(text: &str, max_bytes: usize) -> String {
    let end = text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= max_bytes).last();
    text.get(..end.unwrap_or(0)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(truncated("艾克米", 7), "艾克");
        assert_eq!(truncated("abc", 7), "abc");
        assert_eq!(truncated("艾", 1), "");
    }
}
