//! One-time links: the first sign-in, invitations, forgotten passwords.
//!
//! Looking at a link never spends it: chat programs fetch what is sent through them. The token stands in the
//! address's fragment, which no server sees, and comes here in a body.

use axum::{Json, extract::State, http::HeaderMap};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::session::{self, SessionInfo, SpentLink};
use crate::{
    app::App,
    auth::{
        session::SetCookie,
        throttle::{self, Client},
        token::Token,
    },
    db::link::{self, Open},
    domain::{email::Email, password::NewPassword},
    error::Error,
    http::extract,
};

/// A link's secret.
#[derive(Deserialize, ToSchema)]
pub struct LinkToken {
    token: String,
}

/// A link's secret, and the password to set.
#[derive(Deserialize, ToSchema)]
pub struct Welcome {
    token: String,
    #[schema(format = Password)]
    password: String,
}

/// Whom a link lets in, and where.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LinkInfo {
    name: String,
    email: String,
    /// The workspace's name.
    display_name: String,
}

/// Looks at a link without spending it.
#[utoipa::path(post, path = "/welcome/inspect", tag = "welcome", operation_id = "inspectLink",
    request_body = LinkToken, responses((status = 200, body = LinkInfo)))]
pub async fn inspect(
    client: Client,
    State(app): State<App>,
    extract::Json(sent): extract::Json<LinkToken>,
) -> Result<Json<LinkInfo>, Error> {
    throttle::link(&app, client).await?;
    let (_, open) = find(&app, &sent.token).await?;
    let display_name = app.entitlement.borrow().profile.display_name.clone();
    Ok(Json(LinkInfo { name: open.name, email: open.email, display_name }))
}

/// Spends a link: sets the password and signs in.
#[utoipa::path(post, path = "/welcome", tag = "welcome", operation_id = "spendLink",
    request_body = Welcome, responses((status = 200, body = SessionInfo)))]
pub async fn spend(
    client: Client,
    State(app): State<App>,
    headers: HeaderMap,
    extract::Json(sent): extract::Json<Welcome>,
) -> Result<(SetCookie, Json<SessionInfo>), Error> {
    throttle::link(&app, client).await?;
    let (token_hash, open) = find(&app, &sent.token).await?;
    let email = Email::parse(&open.email).map_err(|_| Error::LinkInvalid)?;
    let password =
        NewPassword::parse(sent.password, &email).map_err(|reason| Error::invalid("/password", reason))?;
    let password_hash = app.passwords.hash(password).await?;
    session::begin(&app, &headers, open.user_id, "spend-link", Some(SpentLink { token_hash, password_hash }))
        .await
}

async fn find(app: &App, token: &str) -> Result<([u8; 32], Open), Error> {
    let hash = Token::parse(token).ok_or(Error::LinkInvalid)?.hash();
    let mut db = app.db.acquire().await?;
    let open = link::find_open(&mut db, &hash, app.clock.now()).await?;
    open.map(|open| (hash, open)).ok_or(Error::LinkInvalid)
}
