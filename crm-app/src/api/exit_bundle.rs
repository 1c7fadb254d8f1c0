//! Leaving with everything: an administrator proves once more who he is, gets a link, and fetches the exit bundle by it.
//!
//! Works in a read-only workspace: nothing holds back what belongs to the customer. The link is worth something only to the one who
//! asked for it, signed in as before, once and for some minutes: it may stand in a list of downloads, or in a proxy's log.

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    app::App,
    auth::{
        session::{Leaving, Session},
        throttle::{self, Client},
        token::Token,
    },
    db::{audit::Entry, exit_bundle, snapshot::Snapshot, user, write::Tx},
    domain::{Invalid, company::Changes, email::Email, link::EXIT_LINK_HOLDS},
    error::Error,
    exchange::{bundle, download},
    http::extract,
};

/// The password of the one who is signed in.
#[derive(Deserialize, ToSchema)]
pub struct Confirmation {
    #[schema(format = Password)]
    password: String,
}

/// By which the bundle is fetched, once.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExitLink {
    /// Path and query.
    #[schema(example = "/api/v1/exit-bundle?token=token")]
    link: String,
    expires_at: Timestamp,
}

/// A link's secret.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct LinkParams {
    /// As it stands in the link.
    token: String,
}

/// Makes a link by which the exit bundle, all of the workspace's data in one archive, is fetched once; an older one stops
/// working (administrators, also when read-only).
#[utoipa::path(post, path = "/exit-bundle", tag = "exit-bundle", operation_id = "newExitLink",
    security(("session" = [], "csrf" = [])), request_body = Confirmation,
    responses((status = 201, body = ExitLink)))]
pub async fn new_link(
    Leaving(admin): Leaving,
    client: Client,
    State(app): State<App>,
    extract::Json(sent): extract::Json<Confirmation>,
) -> Result<(StatusCode, Json<ExitLink>), Error> {
    if app.exit.origin.is_none() {
        return Err(Error::ExportUnavailable);
    }
    demand_password(&app, client, &admin, sent.password).await?;
    let is_taken = {
        let mut db = app.db.acquire().await?;
        exit_bundle::is_taken(&mut db).await?
    };
    if is_taken {
        return Err(Error::ExportRunning);
    }
    throttle::exit_link(&app).await?;
    let (token, now) = (Token::generate(), app.clock.now());
    let expires_at = now + EXIT_LINK_HOLDS;
    let mut tx = Tx::begin(&app.db).await?.seal().await?;
    exit_bundle::replace_link(tx.db(), &token.hash(), admin.user_id, now, expires_at).await?;
    tx.audit(Entry::of_workspace(now, Some(admin.user_id), "new-exit-link", &Changes::new())).await?;
    tx.commit().await?;
    let link = format!("/api/v1/exit-bundle?token={}", token.reveal());
    Ok((StatusCode::CREATED, Json(ExitLink { link, expires_at })))
}

/// Fetches the exit bundle, one at a time. The answer has no length, and one that breaks off is no bundle (administrators,
/// also when read-only).
#[utoipa::path(get, path = "/exit-bundle", tag = "exit-bundle", operation_id = "fetchExitBundle",
    params(LinkParams), security(("session" = [])),
    responses((status = 200, content_type = "application/zip", body = Vec<u8>)))]
pub async fn fetch(
    Leaving(admin): Leaving,
    State(app): State<App>,
    method: Method,
    extract::Query(params): extract::Query<LinkParams>,
) -> Result<Response, Error> {
    // It comes here as well, and whoever only wants to know about it must not spend the link.
    if method == Method::HEAD {
        return Err(Error::MethodNotAllowed);
    }
    let origin = app.exit.origin.clone().ok_or(Error::ExportUnavailable)?;
    let hash = Token::parse(&params.token).ok_or(Error::LinkInvalid)?.hash();
    spend(&app, &hash, &admin).await?;
    let login = app.exit.login.borrow().clone();
    let mut snapshot = Snapshot::take(&login.options()).await?;
    if !exit_bundle::take_turn(snapshot.db()).await? {
        return Err(Error::ExportRunning);
    }
    let name = bundle::name(&origin.tenant, snapshot.taken_at);
    note(&app, &admin, &name).await?;
    tracing::info!(user_id = %admin.user_id, bundle = name, "export.begun");
    let plan = bundle::Plan {
        database: login,
        tenant: bundle::Whose { name: origin.tenant, uid: None },
        image: origin.image,
        entitlement: app.entitlement.borrow().clone(),
        programs: app.exit.programs.clone(),
    };
    let disposition = HeaderValue::try_from(format!("attachment; filename=\"{name}.zip\""));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/zip")),
        (header::CONTENT_DISPOSITION, disposition.unwrap_or(HeaderValue::from_static("attachment"))),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, download::begin(plan, snapshot, app.exit.patience)).into_response())
}

/// Somebody else may sit before a screen that was left alone. Tries count as those to sign in do.
async fn demand_password(app: &App, client: Client, admin: &Session, password: String) -> Result<(), Error> {
    let email = Email::parse(&admin.email).map_err(|_| Error::Unauthorized)?;
    throttle::sign_in(app, client, &email).await?;
    let known = {
        let mut db = app.db.acquire().await?;
        user::credentials(&mut db, &email).await?
    };
    // No connection is held while this takes its time.
    let hash = known.and_then(|known| known.password_hash);
    if !app.passwords.verify(password, hash).await? {
        tracing::info!(user_id = %admin.user_id, "export.refused");
        return Err(Error::invalid("/password", Invalid::Wrong));
    }
    throttle::signed_in(app, &email).await
}

async fn spend(app: &App, token_hash: &[u8; 32], admin: &Session) -> Result<(), Error> {
    let mut db = app.db.acquire().await?;
    let spent = exit_bundle::spend_link(&mut db, token_hash, admin.user_id, app.clock.now()).await?;
    if spent { Ok(()) } else { Err(Error::LinkInvalid) }
}

/// Before the first byte leaves: nobody takes everything without a trace.
async fn note(app: &App, admin: &Session, bundle: &str) -> Result<(), Error> {
    let changes = Changes::from([("bundle", (None, Some(bundle.to_owned())))]);
    let mut tx = Tx::begin(&app.db).await?.seal().await?;
    tx.audit(Entry::of_workspace(app.clock.now(), Some(admin.user_id), "exit-bundle", &changes)).await?;
    Ok(tx.commit().await?)
}
