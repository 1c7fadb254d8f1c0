//! Companies: list and search, read, add, change.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderName, StatusCode, header},
};
use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::{Uuid, Version};

use super::{
    company_input::{CompanyPatch, NewCompany},
    page::{self, Limit},
};
use crate::{
    app::App,
    auth::session::User,
    db::{
        self, OnConstraint as _,
        audit::Entry,
        company::CompanyRow,
        company_list::{self, Order},
        write::Tx,
    },
    domain::{
        Invalid,
        company::{Changes, CompanyFields, Level},
        search,
    },
    error::Error,
    http::extract::{self, Path, Query},
};

const LONGEST_QUERY_CHARS: usize = 200;

/// A company.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Company {
    id: Uuid,
    /// Grows by one with each change; send it back in `If-Match`.
    version: i32,
    name: String,
    short_name: Option<String>,
    uscc: Option<String>,
    level: Option<Level>,
    industry: Option<String>,
    phone: Option<String>,
    email: Option<String>,
    website: Option<String>,
    address: Option<String>,
    /// Decimal text, in the workspace's currency.
    annual_revenue: Option<String>,
    next_contact_on: Option<Date>,
    owner_id: Option<Uuid>,
    owner: Option<Owner>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

/// Who looks after a company.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct Owner {
    id: Uuid,
    name: String,
}

/// Which companies, in which order.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListParams {
    /// Part of the name or short name, or the last four or more digits of the phone number.
    q: Option<String>,
    /// 1 to 200; 50 if absent.
    limit: Option<u32>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
    /// The order; last changed first if absent.
    #[param(inline)]
    sort: Option<Sort>,
}

/// The order of a list.
#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
enum Sort {
    /// Last changed first.
    #[default]
    #[serde(rename = "-updatedAt")]
    UpdatedDescending,
    /// By name, Chinese names by pronunciation.
    #[serde(rename = "name")]
    Name,
}

/// A page of companies.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CompanyPage {
    items: Vec<Company>,
    /// `null` on the last page.
    next_cursor: Option<String>,
}

type WithVersion = ([(HeaderName, String); 1], Json<Company>);

/// Lists and searches.
#[utoipa::path(get, path = "/companies", tag = "companies", operation_id = "listCompanies",
    params(ListParams), security(("session" = [])), responses((status = 200, body = CompanyPage)))]
pub async fn list(
    _: User,
    State(app): State<App>,
    Query(params): Query<ListParams>,
) -> Result<Json<CompanyPage>, Error> {
    let limit = Limit::parse(params.limit)?;
    let order = order(params.sort.unwrap_or_default(), params.cursor.as_deref())?;
    let wanted = params.q.unwrap_or_default();
    if LONGEST_QUERY_CHARS < wanted.chars().count() {
        return Err(Error::invalid("q", Invalid::TooLong));
    }
    let search = search::Query::parse(&wanted);
    let mut db = app.db.acquire().await?;
    let rows = company_list::page(&mut db, search.as_ref(), &order, limit.with_one_more()).await?;
    let (rows, next_cursor) = limit.cut(rows, |row| match order {
        Order::UpdatedDescending(_) => page::encode(&(row.updated_at.to_jiff().as_microsecond(), row.id)),
        Order::Name(_) => page::encode(&(&row.name_key, row.id)),
    });
    Ok(Json(CompanyPage { items: rows.into_iter().map(Company::from).collect(), next_cursor }))
}

/// Reads one; `ETag` is its version.
#[utoipa::path(get, path = "/companies/{id}", tag = "companies", operation_id = "getCompany",
    params(("id" = Uuid, Path)), security(("session" = [])),
    responses((status = 200, body = Company, headers(("ETag" = String)))))]
pub async fn get(_: User, State(app): State<App>, Path(id): Path<Uuid>) -> Result<WithVersion, Error> {
    let mut db = app.db.acquire().await?;
    let row = db::company::find(&mut db, id).await?.ok_or(Error::NotFound)?;
    Ok(with_version(row))
}

/// Adds one. Sending it again with the same id answers 200 with what is there.
#[utoipa::path(post, path = "/companies", tag = "companies", operation_id = "createCompany",
    security(("session" = [], "csrf" = [])), request_body = NewCompany,
    responses((status = 201, body = Company, headers(("ETag" = String))), (status = 200, body = Company)))]
pub async fn create(
    User(user): User,
    State(app): State<App>,
    extract::Json(new): extract::Json<NewCompany>,
) -> Result<(StatusCode, WithVersion), Error> {
    let id = new.id.unwrap_or_else(|| app.clock.new_id());
    if id.get_version() != Some(Version::SortRand) {
        return Err(Error::invalid("/id", Invalid::Format));
    }
    let fields = new.into_fields(user.user_id)?;
    let now = app.clock.now();
    let mut tx = Tx::begin(&app.db).await?.seal().await?;
    let added = broken(db::company::insert(&mut tx, id, &fields, user.user_id, now).await)?;
    if added {
        tx.audit(entry(now, user.user_id, "create", id, &fields.changes_since(None))).await?;
    }
    let row = db::company::find(tx.db(), id).await?.ok_or(Error::NotFound)?;
    tx.commit().await?;
    match added {
        true => Ok((StatusCode::CREATED, with_version(row))),
        false if row.created_by == user.user_id => Ok((StatusCode::OK, with_version(row))),
        false => Err(Error::Conflict { detail: "somebody else has used this id", pointer: Some("/id") }),
    }
}

/// Changes one, if it still is at the version in `If-Match`.
#[utoipa::path(patch, path = "/companies/{id}", tag = "companies", operation_id = "updateCompany",
    params(("id" = Uuid, Path), ("If-Match" = String, Header, description = "The version that was read, in quotes")),
    security(("session" = [], "csrf" = [])), request_body = CompanyPatch,
    responses((status = 200, body = Company, headers(("ETag" = String)))))]
pub async fn update(
    User(user): User,
    State(app): State<App>,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
    extract::Json(patch): extract::Json<CompanyPatch>,
) -> Result<WithVersion, Error> {
    let version = if_match(&headers)?;
    let mut tx = Tx::begin(&app.db).await?;
    db::company::lock(tx.db(), id).await?;
    let row = db::company::find(tx.db(), id).await?.ok_or(Error::NotFound)?;
    if row.version != version {
        return Err(Error::Stale(Box::new(row.into())));
    }
    let before = row.fields();
    let after = patch.apply(&before)?;
    let changes = after.changes_since(Some(&before));
    if changes.is_empty() {
        return Ok(with_version(row));
    }
    let now = app.clock.now();
    let mut tx = tx.seal().await?;
    broken(db::company::update(&mut tx, id, &after, user.user_id, now).await)?;
    tx.audit(entry(now, user.user_id, "update", id, &changes)).await?;
    let row = db::company::find(tx.db(), id).await?.ok_or(Error::NotFound)?;
    tx.commit().await?;
    Ok(with_version(row))
}

fn order(sort: Sort, cursor: Option<&str>) -> Result<Order, Error> {
    Ok(match sort {
        Sort::UpdatedDescending => {
            Order::UpdatedDescending(match cursor.map(page::decode::<(i64, Uuid)>).transpose()? {
                None => None,
                Some((microsecond, id)) => {
                    let at = Timestamp::from_microsecond(microsecond);
                    Some((at.map_err(|_| Error::invalid("cursor", Invalid::Format))?, id))
                }
            })
        }
        Sort::Name => Order::Name(cursor.map(page::decode).transpose()?),
    })
}

fn if_match(headers: &HeaderMap) -> Result<i32, Error> {
    let sent = headers.get(header::IF_MATCH).ok_or(Error::PreconditionRequired)?;
    let version =
        sent.to_str().ok().and_then(|tag| tag.trim().strip_prefix('"')?.strip_suffix('"')?.parse().ok());
    version.ok_or_else(|| Error::invalid("If-Match", Invalid::Format))
}

/// What a company's row can clash with.
fn broken<T>(result: Result<T, sqlx::Error>) -> Result<T, Error> {
    let unique =
        || Error::Conflict { detail: "another company has this credit code", pointer: Some("/uscc") };
    match result.on_constraint("company_uscc_key", unique) {
        Err(Error::Database(e)) if db::constraint(&e) == Some("company_owner_id_fkey") => {
            Err(Error::invalid("/ownerId", Invalid::Unknown))
        }
        other => other,
    }
}

fn entry<'a>(
    at: Timestamp,
    actor: Uuid,
    action: &'static str,
    record_id: Uuid,
    changes: &'a Changes,
) -> Entry<'a> {
    Entry { at, actor_id: Some(actor), action, object: "company", record_id, changes }
}

fn with_version(row: CompanyRow) -> WithVersion {
    ([(header::ETAG, format!("\"{}\"", row.version))], Json(row.into()))
}

impl From<CompanyRow> for Company {
    fn from(row: CompanyRow) -> Self {
        let owner = row.owner_id.zip(row.owner_name.clone()).map(|(id, name)| Owner { id, name });
        let (id, version, created_at, updated_at) = (row.id, row.version, row.created_at, row.updated_at);
        let CompanyFields {
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
        } = row.fields();
        Self {
            id,
            version,
            name: name.as_str().to_owned(),
            short_name: short_name.map(|v| v.as_str().to_owned()),
            uscc: uscc.map(|v| v.as_str().to_owned()),
            level,
            industry: industry.map(|v| v.as_str().to_owned()),
            phone: phone.map(|v| v.as_str().to_owned()),
            email: email.map(|v| v.as_str().to_owned()),
            website: website.map(|v| v.as_str().to_owned()),
            address: address.map(|v| v.as_str().to_owned()),
            annual_revenue: annual_revenue.map(|v| v.as_str().to_owned()),
            next_contact_on,
            owner_id,
            owner,
            created_at: created_at.to_jiff(),
            updated_at: updated_at.to_jiff(),
        }
    }
}
