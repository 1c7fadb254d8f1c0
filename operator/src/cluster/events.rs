//! Kubernetes events from outcomes: what `kubectl describe tenant` shows.

use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client, Resource,
    runtime::events::{Event, EventType, Recorder},
};

use crate::{api::Tenant, cluster::Cluster, names};

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

/// So many events are remembered at most, to make a series of what is repeated.
const REMEMBERED: usize = 64;

/// Publishes events, and turns those that are repeated into a series.
///
/// A recorder keeps every event whole for six minutes, and a fleet that is made has thousands of them in that time. What is
/// repeated follows closely, so it is enough to remember the last few.
pub(super) struct Announcer {
    client: Client,
    current: Mutex<(Recorder, usize)>,
}

impl Announcer {
    pub(super) fn new(client: Client) -> Self {
        let current = Mutex::new((Self::recorder(&client), 0));
        Self { client, current }
    }

    /// The recorder for one more event.
    fn next(&self) -> Recorder {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.1 == REMEMBERED {
            *current = (Self::recorder(&self.client), 0);
        }
        current.1 += 1;
        current.0.clone()
    }

    fn recorder(client: &Client) -> Recorder {
        Recorder::new(client.clone(), names::OPERATOR.to_owned().into())
    }
}

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
        if let Err(error) = self.announcer.next().publish(&event, about).await {
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
