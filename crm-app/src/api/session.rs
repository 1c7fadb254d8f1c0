//! Signing in and out.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    app::App,
    auth::{
        session::{self, Session, SetCookie},
        throttle::{self, Client},
        token::Token,
    },
    db::{
        self,
        audit::Entry,
        user::{self, UserRow},
        write::Tx,
    },
    domain::{
        company::Changes,
        email::Email,
        user::{Role, Status},
    },
    entitlement::State as WorkspaceState,
    error::Error,
    http::extract,
};

/// Who is signed in, where, and with what they prove it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionInfo {
    user: Me,
    /// To be repeated in `X-CSRF-Token` by requests that change something.
    csrf_token: String,
    workspace: Workspace,
}

/// The person who is signed in.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Me {
    id: Uuid,
    name: String,
    email: String,
    role: Role,
    /// The language to begin with.
    locale: String,
}

/// The workspace, from inside.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Workspace {
    display_name: String,
    locale: String,
    time_zone: String,
    currency: String,
    state: WorkspaceState,
    seats: u32,
}

/// Address and password.
#[derive(Deserialize, ToSchema)]
pub struct Credentials {
    email: String,
    #[schema(format = Password)]
    password: String,
}

/// Who is signed in.
#[utoipa::path(get, path = "/session", tag = "session", operation_id = "getSession",
    security(("session" = [])), responses((status = 200, body = SessionInfo)))]
pub async fn get(session: Session, State(app): State<App>) -> Json<SessionInfo> {
    Json(info(&app, session))
}

/// Signs in.
#[utoipa::path(post, path = "/session", tag = "session", operation_id = "signIn",
    request_body = Credentials, responses((status = 200, body = SessionInfo)))]
pub async fn sign_in(
    client: Client,
    State(app): State<App>,
    headers: HeaderMap,
    extract::Json(credentials): extract::Json<Credentials>,
) -> Result<(SetCookie, Json<SessionInfo>), Error> {
    let email = Email::parse(&credentials.email).map_err(|_| Error::WrongCredentials)?;
    throttle::sign_in(&app, client, &email).await?;
    let known = {
        let mut db = app.db.acquire().await?;
        user::credentials(&mut db, &email).await?
    };
    let (id, hash) = known.map_or((None, None), |known| (Some(known.id), known.password_hash));
    // No connection is held while this takes its time.
    let matches = app.passwords.verify(credentials.password, hash).await?;
    let (true, Some(id)) = (matches, id) else {
        tracing::info!(user_id = id.map(tracing::field::display), "sign_in.failed");
        return Err(Error::WrongCredentials);
    };
    throttle::signed_in(&app, &email).await?;
    begin(&app, &headers, id, "sign-in", None).await
}

/// Signs out.
#[utoipa::path(delete, path = "/session", tag = "session", operation_id = "signOut",
    security(("session" = [], "csrf" = [])), responses((status = 204)))]
pub async fn sign_out(session: Session, State(app): State<App>) -> Result<(StatusCode, SetCookie), Error> {
    let mut tx = Tx::begin(&app.db).await?;
    db::session::delete(tx.db(), &session.token.hash()).await?;
    let mut tx = tx.seal().await?;
    tx.audit(entry(&app, session.user_id, "sign-out")).await?;
    tx.commit().await?;
    tracing::info!(user_id = %session.user_id, "sign_out.done");
    Ok((StatusCode::NO_CONTENT, session::no_cookie()))
}

/// What a one-time link changes before it lets somebody in.
pub(super) struct SpentLink {
    /// The link.
    pub token_hash: [u8; 32],
    /// The new password's hash.
    pub password_hash: String,
}

/// Opens a session for somebody who has just proved who they are.
pub(super) async fn begin(
    app: &App,
    headers: &HeaderMap,
    user_id: Uuid,
    action: &'static str,
    link: Option<SpentLink>,
) -> Result<(SetCookie, Json<SessionInfo>), Error> {
    let now = app.clock.now();
    let mut tx = Tx::begin(&app.db).await?;
    if let Some(link) = link {
        if !db::link::spend(tx.db(), &link.token_hash, now).await? {
            return Err(Error::LinkInvalid);
        }
        user::set_password(tx.db(), user_id, &link.password_hash, now).await?;
        // Whoever had the old password, or another link, is out.
        db::session::delete_of_user(tx.db(), user_id).await?;
        db::link::revoke_open_of_user(tx.db(), user_id, now).await?;
    }
    let person = still_active(user::lock(tx.db(), user_id).await?)?;
    let token = session::open(tx.db(), headers, user_id, now).await?;
    let mut tx = tx.seal().await?;
    tx.audit(entry(app, user_id, action)).await?;
    tx.commit().await?;
    tracing::info!(%user_id, action, "sign_in.done");
    let cookie = session::cookie(&token);
    Ok((cookie, Json(info(app, signed_in(&person, token)))))
}

/// Checked under the lock: they may have been deactivated while the password was compared.
fn still_active(person: Option<UserRow>) -> Result<UserRow, Error> {
    person.filter(|person| person.status == Status::Active).ok_or(Error::WrongCredentials)
}

fn signed_in(person: &UserRow, token: Token) -> Session {
    Session {
        user_id: person.id,
        name: person.name.as_str().to_owned(),
        email: person.email.as_str().to_owned(),
        role: person.role,
        token,
    }
}

fn entry(app: &App, user_id: Uuid, action: &'static str) -> Entry<'static> {
    static NOTHING: Changes = Changes::new();
    Entry {
        at: app.clock.now(),
        actor_id: Some(user_id),
        action,
        object: "user",
        record_id: user_id,
        changes: &NOTHING,
    }
}

fn info(app: &App, session: Session) -> SessionInfo {
    let entitlement = app.entitlement.borrow().clone();
    let profile = entitlement.profile;
    SessionInfo {
        csrf_token: session.token.csrf(),
        user: Me {
            id: session.user_id,
            name: session.name,
            email: session.email,
            role: session.role,
            locale: profile.locale.clone(),
        },
        workspace: Workspace {
            display_name: profile.display_name,
            locale: profile.locale,
            time_zone: profile.time_zone,
            currency: profile.currency,
            state: entitlement.state,
            seats: entitlement.seats,
        },
    }
}
