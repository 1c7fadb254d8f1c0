//! A database per test.

use std::{str::FromStr as _, thread};

use crm_app::db::Login;
use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, PgConnection,
    postgres::{PgConnectOptions, PgPool},
};
use uuid::Uuid;

const PASSWORD: &str = "crm-app-tests";
/// Roles belong to the server, so tests that start together make them in turn.
const ROLES_LOCK: i64 = 0x0043_524d_5445_5354;

/// An empty database that goes away with this value.
pub struct Database {
    name: String,
    server: PgConnectOptions,
}

impl Database {
    pub async fn create() -> Self {
        let server = server();
        let mut db = connect(&server).await;
        let name = format!("crm_test_{}", Uuid::now_v7().simple());
        make_roles(&mut db).await;
        execute(&mut db, format!("create database {name} owner crm_owner")).await;
        Self { name, server }
    }

    /// The name of one that is not there yet, on the same server. What is there by then goes away with this value.
    pub fn planned(&self) -> Self {
        Self { name: format!("crm_test_{}", Uuid::now_v7().simple()), server: self.server.clone() }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is there, and the comment on it.
    pub async fn comment(&self) -> Option<Option<String>> {
        let mut db = connect(&self.server).await;
        let comment = "select shobj_description(oid, 'pg_database') from pg_database where datname = $1";
        sqlx::query_scalar(comment).bind(&self.name).fetch_optional(&mut db).await.unwrap()
    }

    pub async fn exists(&self) -> bool {
        self.comment().await.is_some()
    }

    /// As one of the product's roles.
    pub fn options(&self, role: &str) -> PgConnectOptions {
        self.superuser().username(role).password(PASSWORD)
    }

    /// The same for programs.
    pub fn login(&self, role: &str) -> Login {
        Login {
            host: self.server.get_host().to_owned(),
            port: self.server.get_port(),
            database: self.name.clone(),
            user: role.to_owned(),
            password: Some(PASSWORD.to_owned()),
        }
    }

    /// As somebody who may do everything: to look behind the scenes, and to do damage.
    pub fn superuser(&self) -> PgConnectOptions {
        self.server.clone().database(&self.name)
    }

    pub async fn superuser_pool(&self) -> PgPool {
        PgPool::connect_with(self.superuser()).await.unwrap()
    }

    /// As a URL, for programs.
    pub fn superuser_url(&self) -> String {
        let (host, port) = (self.server.get_host(), self.server.get_port());
        format!("postgres://{}@{host}:{port}/{}", self.server.get_username(), self.name)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (name, server) = (self.name.clone(), self.server.clone());
        let dropping = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut db = connect(&server).await;
                execute(&mut db, format!("drop database if exists {name} with (force)")).await;
            });
        });
        _ = dropping.join();
    }
}

/// A database that was migrated already.
pub async fn migrated() -> Database {
    use crm_app::{clock::Clock, command::migrate, db::schema};

    let database = Database::create().await;
    let within = std::time::Duration::from_mins(1);
    migrate::migrate(database.options("crm_owner"), &schema::MIGRATOR, None, within, &Clock::system())
        .await
        .unwrap();
    database
}

pub async fn execute(db: &mut PgConnection, sql: String) {
    db.execute(AssertSqlSafe(sql)).await.unwrap();
}

/// The directory with the socket of the same server, under its usual name, where everybody is trusted.
pub fn socket() -> String {
    #[expect(clippy::disallowed_methods, reason = "where the tests' server is")]
    std::env::var("SCRATCH_SOCKET").unwrap_or_else(|_| {
        panic!(
            "SCRATCH_SOCKET is not set: these tests need the directory with the socket of the server, \
             run: cargo e2e postgres -- cargo test -p crm-app"
        )
    })
}

pub async fn execute_as_superuser(database: &Database, sql: &str) {
    let db = database.superuser_pool().await;
    db.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
    db.close().await;
}

async fn connect(server: &PgConnectOptions) -> PgConnection {
    PgConnection::connect_with(server).await.unwrap_or_else(|error| {
        panic!("PostgreSQL at DATABASE_URL does not answer ({error}); run: cargo e2e postgres -- cargo test -p crm-app")
    })
}

fn server() -> PgConnectOptions {
    #[expect(clippy::disallowed_methods, reason = "where the tests' server is")]
    let url = std::env::var("DATABASE_URL").unwrap_or_else(|_| {
        panic!(
            "DATABASE_URL is not set: these tests need a PostgreSQL 17 server and a superuser on it; \
             run: cargo e2e postgres -- cargo test -p crm-app"
        )
    });
    PgConnectOptions::from_str(&url).unwrap()
}

async fn make_roles(db: &mut PgConnection) {
    let mut turn = db.begin().await.unwrap();
    sqlx::query("select pg_advisory_xact_lock($1)").bind(ROLES_LOCK).execute(&mut *turn).await.unwrap();
    for (role, rights) in [("crm_owner", "createdb"), ("crm_app", ""), ("crm_backup", "")] {
        let known: bool = sqlx::query_scalar("select exists (select from pg_roles where rolname = $1)")
            .bind(role)
            .fetch_one(&mut *turn)
            .await
            .unwrap();
        if !known {
            execute(&mut turn, format!("create role {role} login {rights} password '{PASSWORD}'")).await;
        }
    }
    turn.commit().await.unwrap();
}
