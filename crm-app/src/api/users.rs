//! People. Administrators invite, change and deactivate them; nobody is deleted.

use axum::{Json, extract::State, http::StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    app::App,
    auth::{
        session::{Admin, User},
        token::Token,
    },
    db::{
        self, OnConstraint as _,
        audit::Entry,
        user::UserRow,
        write::{Sealed, Tx},
    },
    domain::{
        company::Changes,
        email::Email,
        link::INVITATION_HOLDS,
        user::{PersonName, Role, Status},
    },
    error::{Error, FieldError},
    http::extract::{self, Path},
};

/// A person who uses the CRM.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = User)]
pub struct Person {
    id: Uuid,
    name: String,
    email: String,
    role: Role,
    status: Status,
    created_at: Timestamp,
}

/// Everybody.
#[derive(Serialize, ToSchema)]
pub struct UserList {
    items: Vec<Person>,
}

/// A person to invite.
#[derive(Deserialize, ToSchema)]
pub struct NewUser {
    name: String,
    email: String,
    role: Role,
}

/// An invited person, with the link to hand over.
#[derive(Serialize, ToSchema)]
pub struct InvitedUser {
    #[serde(flatten)]
    user: Person,
    #[serde(flatten)]
    link: OneTimeLink,
}

/// A one-time link. It is shown this once.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OneTimeLink {
    /// Path and fragment, to be put behind the address that people use.
    #[schema(example = "/welcome#token")]
    link: String,
    expires_at: Timestamp,
}

/// What to change; what is absent stays.
#[derive(Deserialize, ToSchema)]
pub struct UserPatch {
    name: Option<String>,
    role: Option<Role>,
    status: Option<StatusChange>,
}

/// Deactivating ends sessions and links at once and frees the seat.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum StatusChange {
    /// May sign in (again).
    Active,
    /// May not.
    Deactivated,
}

/// Everybody, also those who are deactivated.
#[utoipa::path(get, path = "/users", tag = "users", operation_id = "listUsers",
    security(("session" = [])), responses((status = 200, body = UserList)))]
pub async fn list(_: User, State(app): State<App>) -> Result<Json<UserList>, Error> {
    let mut db = app.db.acquire().await?;
    let rows = db::user::list(&mut db).await?;
    Ok(Json(UserList { items: rows.into_iter().map(Person::from).collect() }))
}

/// Invites a person (administrators).
#[utoipa::path(post, path = "/users", tag = "users", operation_id = "inviteUser",
    security(("session" = [], "csrf" = [])), request_body = NewUser, responses((status = 201, body = InvitedUser)))]
pub async fn create(
    Admin(admin): Admin,
    State(app): State<App>,
    extract::Json(new): extract::Json<NewUser>,
) -> Result<(StatusCode, Json<InvitedUser>), Error> {
    let (name, email) = parse(&new)?;
    let now = app.clock.now();
    let status = Status::Invited;
    let user =
        UserRow { id: app.clock.new_id(), name, email, role: new.role, status, created_at: db::instant(now) };
    let mut tx = Tx::begin(&app.db).await?.seal().await?;
    demand_a_seat(&app, &mut tx).await?;
    db::user::insert(&mut tx, &user).await.on_constraint("app_user_email_key", || Error::Conflict {
        detail: "somebody with this e-mail address is already here",
        pointer: Some("/email"),
    })?;
    let link = add_link(&mut tx, user.id, now).await?;
    audit(&mut tx, now, admin.user_id, "create", user.id, &user.changes_since(None)).await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, Json(InvitedUser { user: user.into(), link })))
}

/// Changes a person (administrators).
#[utoipa::path(patch, path = "/users/{id}", tag = "users", operation_id = "updateUser", params(("id" = Uuid, Path)),
    security(("session" = [], "csrf" = [])), request_body = UserPatch,
    responses((status = 200, body = Person)))]
pub async fn update(
    Admin(admin): Admin,
    State(app): State<App>,
    Path(id): Path<Uuid>,
    extract::Json(patch): extract::Json<UserPatch>,
) -> Result<Json<Person>, Error> {
    let name = patch.name.as_deref().map(PersonName::parse).transpose();
    let name = name.map_err(|reason| Error::invalid("/name", reason))?;
    let now = app.clock.now();
    let mut tx = Tx::begin(&app.db).await?;
    let before = db::user::lock(tx.db(), id).await?.ok_or(Error::NotFound)?;
    let status = match patch.status {
        None => before.status,
        Some(StatusChange::Deactivated) => Status::Deactivated,
        Some(StatusChange::Active) if db::user::has_password(tx.db(), id).await? => Status::Active,
        Some(StatusChange::Active) => Status::Invited,
    };
    let after = UserRow {
        name: name.unwrap_or_else(|| before.name.clone()),
        role: patch.role.unwrap_or(before.role),
        status,
        ..before.clone()
    };
    let changes = after.changes_since(Some(&before));
    if changes.is_empty() {
        return Ok(Json(after.into()));
    }
    let mut tx = tx.seal().await?;
    if after.status.takes_a_seat() && !before.status.takes_a_seat() {
        demand_a_seat(&app, &mut tx).await?;
    }
    db::user::update(&mut tx, &after, now).await?;
    if db::user::active_admins(&mut tx).await? == 0 {
        return Err(Error::Conflict { detail: "the last active administrator must stay one", pointer: None });
    }
    if after.status == Status::Deactivated {
        db::session::delete_of_user(tx.db(), id).await?;
        db::link::revoke_open_of_user(tx.db(), id, now).await?;
    }
    audit(&mut tx, now, admin.user_id, "update", id, &changes).await?;
    tx.commit().await?;
    Ok(Json(after.into()))
}

/// Makes a new one-time link for somebody who lost theirs or forgot the password; older ones stop working
/// (administrators).
#[utoipa::path(post, path = "/users/{id}/link", tag = "users", operation_id = "newUserLink", params(("id" = Uuid, Path)),
    security(("session" = [], "csrf" = [])), responses((status = 201, body = OneTimeLink)))]
pub async fn new_link(
    Admin(admin): Admin,
    State(app): State<App>,
    Path(id): Path<Uuid>,
) -> Result<(StatusCode, Json<OneTimeLink>), Error> {
    let now = app.clock.now();
    let mut tx = Tx::begin(&app.db).await?;
    let user = db::user::lock(tx.db(), id).await?.ok_or(Error::NotFound)?;
    if user.status == Status::Deactivated {
        return Err(Error::Conflict { detail: "this person is deactivated", pointer: None });
    }
    db::link::revoke_open_of_user(tx.db(), id, now).await?;
    let mut tx = tx.seal().await?;
    let link = add_link(&mut tx, id, now).await?;
    audit(&mut tx, now, admin.user_id, "new-link", id, &Changes::new()).await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, Json(link)))
}

fn parse(new: &NewUser) -> Result<(PersonName, Email), Error> {
    match (PersonName::parse(&new.name), Email::parse(&new.email)) {
        (Ok(name), Ok(email)) => Ok((name, email)),
        (name, email) => Err(Error::Invalid(
            [
                name.err().map(|e| FieldError::new("/name", e)),
                email.err().map(|e| FieldError::new("/email", e)),
            ]
            .into_iter()
            .flatten()
            .collect(),
        )),
    }
}

/// Counted in the turn of the one who takes it, so that two never take the last.
async fn demand_a_seat(app: &App, tx: &mut Sealed) -> Result<(), Error> {
    let seats = app.entitlement.borrow().seats;
    if db::user::seats_taken(tx).await? < i64::from(seats) { Ok(()) } else { Err(Error::SeatLimit { seats }) }
}

async fn add_link(tx: &mut Sealed, user_id: Uuid, now: Timestamp) -> Result<OneTimeLink, Error> {
    let (token, expires_at) = (Token::generate(), now + INVITATION_HOLDS);
    db::link::insert(tx.db(), &token.hash(), user_id, now, expires_at).await?;
    Ok(OneTimeLink { link: format!("/welcome#{}", token.reveal()), expires_at })
}

async fn audit(
    tx: &mut Sealed,
    at: Timestamp,
    actor: Uuid,
    action: &'static str,
    record_id: Uuid,
    changes: &Changes,
) -> Result<(), Error> {
    Ok(tx.audit(Entry { at, actor_id: Some(actor), action, object: "user", record_id, changes }).await?)
}

impl From<UserRow> for Person {
    fn from(row: UserRow) -> Self {
        Self {
            id: row.id,
            name: row.name.as_str().to_owned(),
            email: row.email.as_str().to_owned(),
            role: row.role,
            status: row.status,
            created_at: row.created_at.to_jiff(),
        }
    }
}
