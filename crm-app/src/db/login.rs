//! Where a database is and how to come in: for our own connections, and for PostgreSQL's programs.

use std::io;

use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::args::{self, DefaultRole};

/// What it takes to connect. Not printable, because of the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Name or address of the server, or the directory of its socket.
    pub host: String,
    /// Its port, which is part of the socket's name too.
    pub port: u16,
    /// Which database.
    pub database: String,
    /// As whom.
    pub user: String,
    /// None where the server trusts whoever reaches its socket.
    pub password: Option<String>,
}

impl Login {
    /// From the command line and the password's file.
    pub async fn read<R: DefaultRole>(database: &args::Database<R>) -> io::Result<Self> {
        let content = tokio::fs::read_to_string(&database.database_password_file).await?;
        Ok(Self {
            host: database.database_host.clone(),
            port: database.database_port,
            database: database.database_name.clone(),
            user: database.database_user.clone(),
            password: Some(content.trim_end().to_owned()),
        })
    }

    /// The same way into another database, as somebody else.
    #[must_use]
    pub fn to(&self, database: &str, user: &str) -> Self {
        Self { database: database.to_owned(), user: user.to_owned(), ..self.clone() }
    }

    /// For our own connections.
    pub fn options(&self) -> PgConnectOptions {
        // An absolute path as the host is the directory of a socket, as everywhere with PostgreSQL.
        let options = PgConnectOptions::new_without_pgpass()
            .host(&self.host)
            .port(self.port)
            .database(&self.database)
            .username(&self.user)
            .ssl_mode(PgSslMode::Disable)
            .application_name("crm-app")
            .options([
                ("search_path", "pg_catalog"),
                ("timezone", "UTC"),
                ("client_min_messages", "warning"),
            ]);
        match &self.password {
            Some(password) => options.password(password),
            None => options,
        }
    }
}
