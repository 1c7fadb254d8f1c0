//! What clients send about a company, and how it becomes `CompanyFields`.

use jiff::civil::Date;
use serde::Deserialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    domain::{
        Invalid,
        company::{CompanyFields, CompanyName, Level},
        email::Email,
        money::Amount,
        patch::Patch,
        phone::Phone,
        text::Line,
        uscc::Uscc,
        website::Website,
    },
    error::{Error, FieldError},
};

/// A company to add.
#[derive(Deserialize, ToSchema)]
pub struct NewCompany {
    /// A UUIDv7 made by the client: sending the same again adds nothing.
    pub(super) id: Option<Uuid>,
    /// 1 to 200 characters.
    #[serde(default)]
    #[schema(required = true)]
    name: String,
    #[serde(flatten)]
    details: CompanyDetails,
}

/// What to change: absent stays, `null` (or empty text) clears, a value sets.
#[derive(Deserialize, ToSchema)]
pub struct CompanyPatch {
    /// 1 to 200 characters.
    #[serde(default)]
    #[schema(value_type = Option<String>, nullable = false)]
    name: Patch<String>,
    #[serde(flatten)]
    details: CompanyDetails,
}

/// What a company may have, or not.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CompanyDetails {
    /// Up to 60 characters.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    short_name: Patch<String>,
    /// Unified social credit code: 18 characters with a check character.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    uscc: Patch<String>,
    #[serde(default)]
    #[schema(value_type = Option<Level>)]
    level: Patch<Level>,
    /// Up to 60 characters.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    industry: Patch<String>,
    /// 3 to 20 digits, with separators.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    phone: Patch<String>,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    email: Patch<String>,
    /// `http` or `https`; a bare host gets `https://`.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    website: Patch<String>,
    /// Up to 300 characters.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    address: Patch<String>,
    /// Decimal text with up to two decimals.
    #[serde(default)]
    #[schema(value_type = Option<String>, example = "1250000.00")]
    annual_revenue: Patch<String>,
    /// A calendar day.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Date)]
    next_contact_on: Patch<Date>,
    #[serde(default)]
    #[schema(value_type = Option<Uuid>)]
    owner_id: Patch<Uuid>,
}

impl NewCompany {
    /// The fields of the new company, which belongs to its author unless somebody else is named.
    pub(super) fn into_fields(self, author: Uuid) -> Result<CompanyFields, Error> {
        let mut details = self.details;
        if details.owner_id == Patch::Keep {
            details.owner_id = Patch::Set(author);
        }
        apply(Patch::Set(self.name), details, None)
    }
}

impl CompanyPatch {
    /// The fields after the change.
    pub(super) fn apply(self, before: &CompanyFields) -> Result<CompanyFields, Error> {
        apply(self.name, self.details, Some(before))
    }
}

/// The fields that come out of it, or all that is wrong with it.
fn apply(
    name: Patch<String>,
    new: CompanyDetails,
    before: Option<&CompanyFields>,
) -> Result<CompanyFields, Error> {
    let mut errors = Vec::new();
    let mut wrong = |pointer: &str, reason: Invalid| errors.push(FieldError::new(pointer, reason));
    let name = match name {
        Patch::Keep => before.map(|fields| fields.name.clone()).ok_or(Invalid::Required),
        Patch::Clear => Err(Invalid::Required),
        Patch::Set(raw) => CompanyName::parse(&raw),
    };
    let name = name.map_err(|reason| wrong("/name", reason)).ok();
    // A macro, because each field has a type of its own.
    macro_rules! text {
        ($field:ident, $pointer:literal, $parse:expr) => {
            optional(new.$field, before.and_then(|fields| fields.$field.clone()), $parse).unwrap_or_else(
                |reason| {
                    wrong($pointer, reason);
                    None
                },
            )
        };
    }
    let short_name = text!(short_name, "/shortName", Line::parse);
    let uscc = text!(uscc, "/uscc", Uscc::parse);
    let industry = text!(industry, "/industry", Line::parse);
    let phone = text!(phone, "/phone", Phone::parse);
    let email = text!(email, "/email", Email::parse);
    let website = text!(website, "/website", Website::parse);
    let address = text!(address, "/address", Line::parse);
    let annual_revenue = text!(annual_revenue, "/annualRevenue", Amount::parse);
    let level = value(new.level, before.and_then(|fields| fields.level));
    let next_contact_on = value(new.next_contact_on, before.and_then(|fields| fields.next_contact_on));
    let owner_id = value(new.owner_id, before.and_then(|fields| fields.owner_id));
    match name {
        Some(name) if errors.is_empty() => Ok(CompanyFields {
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
        }),
        _ => Err(Error::Invalid(errors)),
    }
}

fn value<T>(patch: Patch<T>, old: Option<T>) -> Option<T> {
    match patch {
        Patch::Keep => old,
        Patch::Clear => None,
        Patch::Set(new) => Some(new),
    }
}

/// Forms send empty text for an empty field.
fn optional<T>(
    patch: Patch<String>,
    old: Option<T>,
    parse: impl Fn(&str) -> Result<T, Invalid>,
) -> Result<Option<T>, Invalid> {
    match patch {
        Patch::Keep => Ok(old),
        Patch::Clear => Ok(None),
        Patch::Set(raw) if raw.trim().is_empty() => Ok(None),
        Patch::Set(raw) => parse(&raw).map(Some),
    }
}
