//! What the sign-in page may show to anybody.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;

/// The workspace, from outside.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PublicWorkspace {
    display_name: String,
    locale: String,
}

/// Whose CRM this is.
#[utoipa::path(get, path = "/workspace", tag = "workspace", operation_id = "getWorkspace",
    responses((status = 200, body = PublicWorkspace)))]
pub async fn get(State(app): State<App>) -> Json<PublicWorkspace> {
    let profile = app.entitlement.borrow().profile.clone();
    Json(PublicWorkspace { display_name: profile.display_name, locale: profile.locale })
}
