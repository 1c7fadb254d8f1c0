//! State and limits as the CRM reads them, with a revision that only ever grows.
//!
//! The same JSON travels on two ways: a ConfigMap file for pods that are born, an annotation for those that live. The app
//! obeys the higher revision, so the revision must be higher than any that is out there, and must not move without cause.

use serde::{Deserialize, Serialize};

use crate::{
    api::{Locale, State},
    tenant::validate::ValidTenant,
};

/// Name of the file in the ConfigMap.
pub const FILE: &str = "config.json";

/// What the app is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entitlement {
    /// Higher than that of every earlier one.
    pub revision: u64,
    /// The rest.
    #[serde(flatten)]
    pub content: Content,
}

/// What the app is told, apart from the revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Whether changes are allowed.
    pub state: Access,
    /// How many people may use the CRM.
    pub seats: i32,
    /// What the workspace looks like.
    pub profile: Profile,
}

/// Whether changes are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// They are.
    Active,
    /// They are not.
    ReadOnly,
}

/// What the workspace looks like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Profile {
    /// Name of the customer.
    pub display_name: String,
    /// Language.
    pub locale: Locale,
    /// IANA time zone.
    pub time_zone: String,
    /// ISO 4217 currency.
    pub currency: String,
}

impl Entitlement {
    /// What stands in a file or annotation; nothing when it cannot be read.
    pub fn parse(raw: &str) -> Option<Self> {
        serde_json::from_str(raw).ok()
    }

    /// As it stands in the file and the annotation.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

/// What the tenant is entitled to.
pub fn content(tenant: &ValidTenant) -> Content {
    Content {
        state: match tenant.state {
            State::Active => Access::Active,
            // A suspended tenant runs nothing; whatever still runs must not change anything.
            State::ReadOnly | State::Suspended => Access::ReadOnly,
        },
        seats: tenant.seats,
        profile: Profile {
            display_name: tenant.display_name.clone(),
            locale: tenant.locale,
            time_zone: tenant.time_zone.clone(),
            currency: tenant.currency.clone(),
        },
    }
}

/// The next entitlement: the newest that is out there if it says the same, else one revision higher.
pub fn next<'a>(content: Content, seen: impl IntoIterator<Item = &'a Entitlement>) -> Entitlement {
    match seen.into_iter().max_by_key(|entitlement| entitlement.revision) {
        None => Entitlement { revision: 1, content },
        Some(newest) if newest.content == content => newest.clone(),
        Some(newest) => Entitlement { revision: newest.revision.saturating_add(1), content },
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn content(seats: i32) -> Content {
        Content {
            state: Access::Active,
            seats,
            profile: Profile {
                display_name: "艾克米".into(),
                locale: Locale::ZhCn,
                time_zone: "Asia/Shanghai".into(),
                currency: "CNY".into(),
            },
        }
    }

    #[rstest]
    #[case::first(&[], 1)]
    #[case::unchanged(&[(4, 10)], 4)]
    #[case::changed(&[(4, 5)], 5)]
    #[case::a_pod_knows_more_than_the_file(&[(4, 10), (9, 5)], 10)]
    #[case::the_file_is_ahead_of_the_pods(&[(9, 10), (4, 5)], 9)]
    fn the_revision_grows_only_with_the_content(#[case] seen: &[(u64, i32)], #[case] revision: u64) {
        let seen: Vec<_> = seen
            .iter()
            .map(|(revision, seats)| Entitlement { revision: *revision, content: content(*seats) })
            .collect();
        assert_eq!(next(content(10), &seen), Entitlement { revision, content: content(10) });
    }

    #[test]
    fn the_json_is_what_the_app_expects() {
        let json = Entitlement { revision: 7, content: content(10) }.to_json().unwrap();
        assert_eq!(
            json,
            r#"{"revision":7,"state":"Active","seats":10,"profile":{"displayName":"艾克米","locale":"zh-CN","timeZone":"Asia/Shanghai","currency":"CNY"}}"#
        );
        assert_eq!(Entitlement::parse(&json).unwrap().revision, 7);
        assert_eq!(Entitlement::parse("{}"), None);
    }
}
