//! Companies: the customers of our customers.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    email::Email,
    money::Amount,
    phone::Phone,
    search::{self, Indexed},
    text::Line,
    uscc::Uscc,
    website::Website,
};

/// A company's name.
pub type CompanyName = Line<200>;
/// What people call it.
pub type ShortName = Line<60>;
/// What it does.
pub type Industry = Line<60>;
/// Where it is.
pub type Address = Line<300>;

/// How much a company matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[sqlx(type_name = "text")]
pub enum Level {
    /// Key.
    A,
    /// Ordinary.
    B,
    /// Small.
    C,
}

impl Level {
    const fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
        }
    }
}

/// Everything about a company that people edit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompanyFields {
    /// The full name.
    pub name: CompanyName,
    /// What people call it.
    pub short_name: Option<ShortName>,
    /// Its registration.
    pub uscc: Option<Uscc>,
    /// How much it matters.
    pub level: Option<Level>,
    /// What it does.
    pub industry: Option<Industry>,
    /// The switchboard.
    pub phone: Option<Phone>,
    /// The general address.
    pub email: Option<Email>,
    /// Its site.
    pub website: Option<Website>,
    /// Where it is.
    pub address: Option<Address>,
    /// What it turns over in a year, in the workspace's currency.
    pub annual_revenue: Option<Amount>,
    /// When to get in touch again: a day of the calendar.
    pub next_contact_on: Option<Date>,
    /// Who looks after it; nobody means unassigned.
    pub owner_id: Option<Uuid>,
}

/// Field → value before, value after, as text.
pub type Changes = BTreeMap<&'static str, (Option<String>, Option<String>)>;

impl CompanyFields {
    /// What changed from `before`, or everything that is set when there was nothing before.
    pub fn changes_since(&self, before: Option<&Self>) -> Changes {
        let old = before.map(Self::as_text);
        let pairs = self.as_text().into_iter().enumerate().map(|(at, (field, new))| {
            let old = old.as_ref().and_then(|fields| fields[at].1.clone());
            (field, (old, new))
        });
        pairs.filter(|(_, (old, new))| old != new).collect()
    }

    /// What search and sorting need.
    pub fn index(&self) -> Indexed {
        let digits = self.phone.as_ref().map(Phone::digits);
        search::index(self.name.as_str(), self.short_name.as_ref().map(Line::as_str), digits.as_deref())
    }

    /// Every field once, under its name in JSON.
    fn as_text(&self) -> [(&'static str, Option<String>); 12] {
        // No `..`: a new field that the audit log would not see does not compile.
        let Self {
            name,
            short_name,
            uscc,
            level,
            industry,
            phone,
            email,
            website,
            address,
            annual_revenue,
            next_contact_on,
            owner_id,
        } = self;
        let text = |value: Option<&str>| value.map(str::to_owned);
        [
            ("name", Some(name.as_str().to_owned())),
            ("shortName", text(short_name.as_ref().map(Line::as_str))),
            ("uscc", text(uscc.as_ref().map(Uscc::as_str))),
            ("level", text(level.map(Level::as_str))),
            ("industry", text(industry.as_ref().map(Line::as_str))),
            ("phone", text(phone.as_ref().map(Phone::as_str))),
            ("email", text(email.as_ref().map(Email::as_str))),
            ("website", text(website.as_ref().map(Website::as_str))),
            ("address", text(address.as_ref().map(Line::as_str))),
            ("annualRevenue", text(annual_revenue.as_ref().map(Amount::as_str))),
            ("nextContactOn", next_contact_on.map(|day| day.to_string())),
            ("ownerId", owner_id.map(|id| id.to_string())),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> CompanyFields {
        CompanyFields {
            name: CompanyName::parse(name).unwrap(),
            short_name: None,
            uscc: None,
            level: None,
            industry: None,
            phone: None,
            email: None,
            website: None,
            address: None,
            annual_revenue: None,
            next_contact_on: None,
            owner_id: None,
        }
    }

    #[test]
    fn changes_name_each_field_that_differs_and_no_other() {
        let before = CompanyFields { level: Some(Level::B), ..named("Acme") };
        let after = CompanyFields { phone: Phone::parse("110").ok(), ..named("Acme Ltd") };
        let changes = after.changes_since(Some(&before));
        let text = |value: &str| Some(value.to_owned());
        assert_eq!(
            changes,
            BTreeMap::from([
                ("name", (text("Acme"), text("Acme Ltd"))),
                ("level", (text("B"), None)),
                ("phone", (None, text("110"))),
            ])
        );
        assert_eq!(after.changes_since(Some(&after)), Changes::new());
    }

    #[test]
    fn a_new_company_lists_what_it_has() {
        assert_eq!(
            named("Acme").changes_since(None),
            BTreeMap::from([("name", (None, Some("Acme".to_owned())))])
        );
    }
}
