//! Sessions, and the arguments by which a handler says who may call it.
//!
//! A handler that takes `Session`, `User`, `Admin` or `Leaving` is private. On methods that change something all of them
//! also demand the session's CSRF token; `User` and `Admin` demand that the workspace is not read-only. So no
//! handler can forget to ask.

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, Method, header, request::Parts},
};
use jiff::{SignedDuration, Timestamp};
use sqlx::PgConnection;
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use super::token::Token;
use crate::{
    app::App,
    db::session::{self, Live},
    domain::user::Role,
    entitlement::State,
    error::Error,
};

/// The prefix makes browsers refuse the cookie unless it is `Secure`, for this host only and for every path.
const COOKIE: &str = "__Host-session";
/// A session that nobody used for so long has ended.
const IDLE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// A session ends after this, however much it was used.
const LONGEST: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Use is noted no more often than this: most requests write nothing.
const NOTED_EVERY: SignedDuration = SignedDuration::from_mins(5);

/// Somebody who is signed in.
pub struct Session {
    /// Who.
    pub user_id: Uuid,
    /// Their name.
    pub name: String,
    /// Their address.
    pub email: String,
    /// What they may do.
    pub role: Role,
    /// The session's secret.
    pub token: Token,
}

/// Somebody who is signed in and, if the request changes something, may do so now.
pub struct User(pub Session);

/// A `User` who manages people.
pub struct Admin(pub Session);

/// Somebody who may take everything along: who manages people, also when the workspace is read-only.
pub struct Leaving(pub Session);

impl FromRequestParts<App> for Session {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let token = token_of(&parts.headers).ok_or(Error::Unauthorized)?;
        let live = find(app, &token).await?.ok_or(Error::Unauthorized)?;
        if !parts.method.is_safe() && !has_csrf_token(&parts.headers, &token) {
            return Err(Error::Forbidden("the X-CSRF-Token header is missing or not this session's"));
        }
        Ok(Self { user_id: live.user_id, name: live.name, email: live.email, role: live.role, token })
    }
}

impl FromRequestParts<App> for User {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let session = Session::from_request_parts(parts, app).await?;
        demand_writable(&parts.method, app)?;
        Ok(Self(session))
    }
}

impl FromRequestParts<App> for Admin {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let Leaving(session) = Leaving::from_request_parts(parts, app).await?;
        demand_writable(&parts.method, app)?;
        Ok(Self(session))
    }
}

impl FromRequestParts<App> for Leaving {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Error> {
        let session = Session::from_request_parts(parts, app).await?;
        match session.role {
            Role::Admin => Ok(Self(session)),
            Role::Member => Err(Error::Forbidden("only administrators may do this")),
        }
    }
}

fn demand_writable(method: &Method, app: &App) -> Result<(), Error> {
    match app.entitlement.borrow().state {
        State::Active => Ok(()),
        State::ReadOnly if method.is_safe() => Ok(()),
        State::ReadOnly => Err(Error::ReadOnly),
    }
}

async fn find(app: &App, token: &Token) -> Result<Option<Live>, Error> {
    let (hash, now) = (token.hash(), app.clock.now());
    let mut db = app.db.acquire().await?;
    let live = session::find(&mut db, &hash, now, now - IDLE).await?;
    if live.as_ref().is_some_and(|live| NOTED_EVERY < now.duration_since(live.last_seen_at.to_jiff())) {
        session::touch(&mut db, &hash, now).await?;
    }
    Ok(live)
}

fn has_csrf_token(headers: &HeaderMap, token: &Token) -> bool {
    headers.get("x-csrf-token").is_some_and(|sent| sent.as_bytes().ct_eq(token.csrf().as_bytes()).into())
}

fn token_of(headers: &HeaderMap) -> Option<Token> {
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    cookies
        .flat_map(|pairs| pairs.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, _)| *name == COOKIE)
        .and_then(|(_, value)| Token::parse(value))
}

/// Opens a session with a token of its own; the one that the browser may have had before ends.
pub async fn open(
    db: &mut PgConnection,
    headers: &HeaderMap,
    user_id: Uuid,
    now: Timestamp,
) -> Result<Token, Error> {
    if let Some(previous) = token_of(headers) {
        session::delete(db, &previous.hash()).await?;
    }
    let token = Token::generate();
    session::insert(db, &token.hash(), user_id, now, now + LONGEST).await?;
    Ok(token)
}

/// Forgets sessions that no longer hold.
pub async fn sweep(db: &mut PgConnection, now: Timestamp) -> Result<u64, sqlx::Error> {
    session::delete_expired(db, now, now - IDLE).await
}

/// A response header, as axum takes it.
pub type SetCookie = [(HeaderName, String); 1];

/// The cookie of a session that was just opened.
pub fn cookie(token: &Token) -> SetCookie {
    set_cookie(token.reveal(), LONGEST)
}

/// Makes the browser forget.
pub fn no_cookie() -> SetCookie {
    set_cookie("", SignedDuration::ZERO)
}

/// `Lax` keeps people signed in who follow a link from a chat.
fn set_cookie(value: &str, max_age: SignedDuration) -> SetCookie {
    let seconds = max_age.as_secs();
    let cookie = format!("{COOKIE}={value}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Lax");
    [(header::SET_COOKIE, cookie)]
}
