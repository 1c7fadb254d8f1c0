//! What happened to a company.

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::page::{self, Limit};
use crate::{
    app::App,
    auth::session::User,
    db::{
        self,
        audit::{Shown, StoredChanges},
    },
    error::Error,
    http::extract::{Path, Query},
};

/// Which part of the history.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Params {
    /// 1 to 200.
    limit: Option<u32>,
    /// The `nextCursor` of the page before.
    cursor: Option<String>,
}

/// A page of history, newest first.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditPage {
    items: Vec<AuditEntry>,
    /// Absent on the last page.
    next_cursor: Option<String>,
}

/// Something that somebody did.
#[derive(Serialize, ToSchema)]
pub struct AuditEntry {
    id: i64,
    at: Timestamp,
    actor: Option<Actor>,
    /// `create`, `update`.
    action: String,
    /// Field → value before, value after.
    #[schema(value_type = std::collections::BTreeMap<String, [Option<String>; 2]>)]
    changes: StoredChanges,
}

/// Who did it.
#[derive(Serialize, ToSchema)]
struct Actor {
    id: Uuid,
    name: String,
}

/// What happened to a company, newest first.
#[utoipa::path(get, path = "/companies/{id}/audit", tag = "companies", operation_id = "listCompanyAudit",
    params(("id" = Uuid, Path), Params), security(("session" = [])), responses((status = 200, body = AuditPage)))]
pub async fn list(
    _: User,
    State(app): State<App>,
    Path(id): Path<Uuid>,
    Query(params): Query<Params>,
) -> Result<Json<AuditPage>, Error> {
    let limit = Limit::parse(params.limit)?;
    let before = params.cursor.as_deref().map(page::decode::<i64>).transpose()?;
    let mut db = app.db.acquire().await?;
    if db::company::find(&mut db, id).await?.is_none() {
        return Err(Error::NotFound);
    }
    let rows = db::audit::of_record(&mut db, "company", id, before, limit.with_one_more()).await?;
    let (rows, next_cursor) = limit.cut(rows, |row| page::encode(&row.id));
    Ok(Json(AuditPage { items: rows.into_iter().map(AuditEntry::from).collect(), next_cursor }))
}

impl From<Shown> for AuditEntry {
    fn from(shown: Shown) -> Self {
        Self {
            id: shown.id,
            at: shown.at.to_jiff(),
            actor: shown.actor_id.map(|id| Actor { id, name: shown.actor_name.unwrap_or_default() }),
            action: shown.action,
            changes: shown.changes.0,
        }
    }
}
