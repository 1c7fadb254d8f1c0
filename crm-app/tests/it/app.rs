//! The whole application in this process, with a clock and an entitlement that tests set.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use axum::Router;
use crm_app::{
    app::{self, App},
    auth::{password::Passwords, token::Token},
    backup::Programs,
    clock::Clock,
    command::{migrate, read_first_sign_in},
    db::{self, schema},
    entitlement::{Entitlement, Profile, State},
    exchange::download::{self, Origin, Source},
    metrics::Metrics,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tokio::sync::watch;

use crate::{bundle::IMAGE, client::Client, database::Database, door::TENANT};

pub const PASSWORD: &str = "correct horse";
pub const ADMIN: &str = "fang@acme.example";

pub struct TestApp {
    pub app: App,
    pub router: Router,
    pub database: Database,
    /// Of the first administrator's link.
    pub first_token: Token,
    now: Arc<Mutex<Timestamp>>,
    entitlement: watch::Sender<Entitlement>,
}

impl TestApp {
    /// Migrated, with the first administrator's link not yet spent.
    pub async fn start() -> Self {
        Self::start_at("2026-11-22T01:00:00Z".parse().unwrap()).await
    }

    pub async fn start_at(start: Timestamp) -> Self {
        let database = Database::create().await;
        let now = Arc::new(Mutex::new(start));
        let clock = {
            let now = Arc::clone(&now);
            Clock::new(move || *now.lock().unwrap())
        };
        let first_token = Token::generate();
        migrate_with_first_sign_in(&database, &first_token, &clock).await;
        let (entitlement, watched) = watch::channel(entitlement());
        let app = App {
            db: db::pool(database.options("crm_app"), 5),
            entitlement: watched,
            clock,
            passwords: Arc::new(Passwords::default()),
            public_url: Arc::new("http://acme.crm.localhost:8080".parse().unwrap()),
            exit: Source {
                login: watch::channel(database.login("crm_app")).1,
                origin: Some(Origin { tenant: TENANT.to_owned(), image: IMAGE.to_owned() }),
                programs: Programs::default(),
                patience: download::PATIENCE,
            },
            metrics: Metrics::new().unwrap(),
        };
        Self { router: app::router(app.clone()), app, database, first_token, now, entitlement }
    }

    /// Somebody who is not signed in.
    pub fn stranger(&self) -> Client {
        Client::new(self.router.clone())
    }

    /// Somebody who is not signed in, to the same application on another database.
    pub fn stranger_to(&self, database: &Database) -> Client {
        let db = db::pool(database.options("crm_app"), 5);
        Client::new(app::router(App { db, ..self.app.clone() }))
    }

    /// The same application, making exit bundles in another way.
    pub fn router_with(&self, change: impl FnOnce(&mut Source)) -> Router {
        let mut app = self.app.clone();
        change(&mut app.exit);
        app::router(app)
    }

    /// The first administrator, signed in by the link.
    pub async fn admin(&self) -> Client {
        let mut client = self.stranger();
        client.spend_link(self.first_token.reveal(), PASSWORD).await.expect(200);
        client
    }

    /// A member whom the administrator invited.
    pub async fn member(&self, admin: &Client, email: &str) -> Client {
        let invited =
            admin.create_user(json!({"name": "李雷", "email": email, "role": "member"})).await.expect(201);
        let link = invited["link"].as_str().unwrap();
        let mut client = self.stranger();
        client.spend_link(link.strip_prefix("/welcome#").unwrap(), PASSWORD).await.expect(200);
        client
    }

    pub fn advance(&self, by: SignedDuration) {
        let mut now = self.now.lock().unwrap();
        *now += by;
    }

    pub fn entitle(&self, change: impl FnOnce(&mut Entitlement)) {
        self.entitlement.send_modify(change);
    }
}

fn entitlement() -> Entitlement {
    Entitlement {
        revision: 1,
        state: State::Active,
        seats: 10,
        profile: Profile {
            display_name: "杭州艾克米贸易有限公司".to_owned(),
            locale: "zh-CN".to_owned(),
            time_zone: "Asia/Shanghai".to_owned(),
            currency: "CNY".to_owned(),
        },
    }
}

async fn migrate_with_first_sign_in(database: &Database, token: &Token, clock: &Clock) {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        ("token-sha256", hex::encode(token.hash())),
        ("admin-name", "王芳".to_owned()),
        ("admin-email", ADMIN.to_owned()),
        ("expires-in", "604800".to_owned()),
    ];
    for (file, text) in files {
        fs::write(folder.path().join(file), text).unwrap();
    }
    let first = read_first_sign_in(folder.path()).unwrap();
    let within = std::time::Duration::from_mins(1);
    let options = database.options("crm_owner");
    migrate::migrate(options, &schema::MIGRATOR, Some(&first), within, clock).await.unwrap();
}
