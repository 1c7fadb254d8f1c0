//! What the tenant may do, as the operator says in mounted files: state, seats, profile.
//!
//! The same document comes twice: in a ConfigMap's file, which a pod has from its birth, and in a file with
//! the pod's annotation, which changes within a second while the pod lives. The higher revision counts.
//! Nothing readable at start means read-only; what becomes unreadable later leaves the last good one.

mod watch;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::watch::{Watched, read, watch};

/// What the operator says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entitlement {
    /// Grows with each change of content.
    pub revision: u64,
    /// What the people in charge want.
    pub state: State,
    /// How many people may have access.
    pub seats: u32,
    /// Who the tenant is.
    pub profile: Profile,
}

/// Whether records may be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[schema(as = WorkspaceState)]
pub enum State {
    /// Everything works.
    Active,
    /// Reading and signing in work.
    ReadOnly,
}

/// Who the tenant is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// The company's name.
    pub display_name: String,
    /// The language in which the workspace begins: `zh-CN` or `en`.
    pub locale: String,
    /// IANA name; decides what "today" is.
    pub time_zone: String,
    /// ISO 4217.
    pub currency: String,
}

impl Entitlement {
    /// What holds while nobody has said anything: nothing may be changed.
    pub fn none() -> Self {
        Self {
            revision: 0,
            state: State::ReadOnly,
            seats: 0,
            profile: Profile {
                display_name: "CRM".to_owned(),
                locale: "zh-CN".to_owned(),
                time_zone: "Asia/Shanghai".to_owned(),
                currency: "CNY".to_owned(),
            },
        }
    }

    /// Reads a document; an empty one is an annotation that is not set yet.
    pub fn parse(text: &str) -> Result<Option<Self>, serde_json::Error> {
        if text.trim().is_empty() { Ok(None) } else { serde_json::from_str(text).map(Some) }
    }
}

/// Chooses between what holds and what was just read. Never goes back to an older revision.
fn choose(current: &Entitlement, read: [Option<Entitlement>; 2]) -> Option<Entitlement> {
    let newest = read.into_iter().flatten().max_by_key(|entitlement| entitlement.revision)?;
    (current.revision <= newest.revision && *current != newest).then_some(newest)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn revision(revision: u64, state: State) -> Entitlement {
        Entitlement { revision, state, ..Entitlement::none() }
    }

    #[rstest]
    #[case::nothing_readable([None, None], None)]
    #[case::the_annotation_is_newer([Some(6), Some(7)], Some(7))]
    #[case::the_config_map_is_newer([Some(8), Some(7)], Some(8))]
    #[case::only_one([None, Some(6)], Some(6))]
    #[case::older_than_what_holds([Some(4), Some(3)], None)]
    fn the_highest_revision_counts(#[case] read: [Option<u64>; 2], #[case] expected: Option<u64>) {
        let read = read.map(|number| number.map(|number| revision(number, State::Active)));
        let chosen = choose(&revision(5, State::ReadOnly), read);
        assert_eq!(chosen.map(|entitlement| entitlement.revision), expected);
    }

    #[test]
    fn the_same_again_is_no_change() {
        let current = revision(5, State::Active);
        assert_eq!(choose(&current, [Some(current.clone()), None]), None);
    }

    #[test]
    fn documents() {
        let text = r#"{"revision":7,"state":"Active","seats":10,"later":1,
            "profile":{"displayName":"杭州","locale":"zh-CN","timeZone":"Asia/Shanghai","currency":"CNY"}}"#;
        assert_eq!(Entitlement::parse(text).unwrap().unwrap().seats, 10);
        assert_eq!(Entitlement::parse(" \n").unwrap(), None);
        assert!(Entitlement::parse(&text.replace("Active", "Hungry")).is_err());
        assert!(Entitlement::parse(&text[..40]).is_err());
    }
}
