//! The releases that only tests run, as processes: each does what it is for, and nothing else.

use std::{
    fs,
    net::SocketAddr,
    process::Stdio,
    time::{Duration, Instant},
};

use axum::{Router, body::Body, extract::Request};
use crm_app::{
    clock::Clock,
    db::schema,
    test_release::{GOOD_ANSWERS, SLOWEST},
};
use hyper_util::rt::TokioIo;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    net::TcpStream,
    process::{Child, ChildStdout, Command},
    time::timeout,
};
use uuid::Uuid;

use crate::{
    app::TestApp,
    client::Client,
    database::Database,
    door::{FakeDoor, WITHIN},
    pod::{Pod, output},
    vault::{self, BackedUp, Keys},
};

const EXPANDS: i64 = 1001;
const CONTRACTS: i64 = 1002;
const MIGRATION_FAILS: i64 = 1003;
const UNMIGRATABLE: &str = "an unmigratable company";

/// The application in this process. It has the machine's clock, as the releases beside it have: they are to honour its sessions.
async fn product() -> TestApp {
    TestApp::start_at(Clock::system().now()).await
}

/// `crm-app migrate` of a release, and what it reports.
async fn migrate(release: &str, database: &Database) -> Value {
    let pod = Pod::new(&Keys::generate());
    let login = database.login("crm_owner");
    let mut command = pod.alone("migrate");
    command.env("CRM_TEST_RELEASE", release);
    command.args(["--database-host", &login.host, "--database-port", &login.port.to_string()]);
    command.args(["--database-name", &login.database]);
    command.arg("--database-password-file").arg(pod.file("password"));
    output(command).await;
    pod.report()
}

fn migrated(schema_version: i64) -> Value {
    json!({"code": "Migrated", "schemaVersion": schema_version})
}

/// `crm-app serve` of a release.
struct Served {
    application: SocketAddr,
    management: SocketAddr,
    // Nobody reads it any more, but it has to be there to be written to.
    _log: Lines<BufReader<ChildStdout>>,
    _process: Child,
    _pod: Pod,
}

fn serve(release: &str, database: &Database, pod: &Pod) -> Command {
    let login = database.login("crm_app");
    let entitlement = crate::bundle::entitlement().replace("ReadOnly", "Active");
    fs::write(pod.file("entitlement"), entitlement).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_crm-app"));
    command.env("CRM_TEST_RELEASE", release);
    command.args(["serve", "--listen", "127.0.0.1:0", "--management-listen", "127.0.0.1:0"]);
    command.args(["--public-url", crate::client::ORIGIN]);
    command.args(["--database-host", &login.host, "--database-port", &login.port.to_string()]);
    command.args(["--database-name", &login.database]);
    command.arg("--database-password-file").arg(pod.file("password"));
    command.arg("--entitlement-config").arg(pod.file("entitlement"));
    command.arg("--entitlement-annotation").arg(pod.file("annotation"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    command
}

impl Served {
    async fn start(release: &str, database: &Database) -> Self {
        let pod = Pod::new(&Keys::generate());
        let mut process = serve(release, database, &pod).spawn().unwrap();
        let mut log = BufReader::new(process.stdout.take().unwrap()).lines();
        let listening = async {
            loop {
                let line = log.next_line().await.unwrap().expect("its log ended");
                if line.contains("serve.listening") {
                    break serde_json::from_str::<Value>(&line).unwrap();
                }
            }
        };
        let line = timeout(WITHIN, listening).await.expect("it never listens");
        let address = |name: &str| line[name].as_str().unwrap().parse().unwrap();
        let (application, management) = (address("application"), address("management"));
        Self { application, management, _log: log, _process: process, _pod: pod }
    }

    /// The same person, before this release.
    fn client(&self, person: &Client) -> Client {
        person.at(leading_to(self.application))
    }

    fn probe(&self) -> Client {
        Client::new(leading_to(self.management))
    }

    async fn metrics(&self) -> String {
        String::from_utf8(self.probe().get("/metrics").await.bytes).unwrap()
    }
}

/// Hands each request on to a process.
fn leading_to(address: SocketAddr) -> Router {
    Router::new().fallback(async move |request: Request| {
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap().map(Body::new)
    })
}

/// The column that the product does not know, and the row's version.
async fn edition(database: &Database, column: &'static str, id: Uuid) -> (Option<i32>, i32) {
    let db = database.superuser_pool().await;
    let query = sqlx::AssertSqlSafe(format!("select {column}, version from crm.company where id = $1"));
    let row = sqlx::query_as(query).bind(id).fetch_one(&db).await.unwrap();
    db.close().await;
    row
}

fn industry(word: &str) -> Value {
    json!({"industry": word})
}

#[test]
fn this_program_holds_what_no_product_does() {
    assert!(crate::commands::holds_test_releases());
}

#[tokio::test]
async fn expands_writes_its_column_and_the_product_works_on_beside_it() {
    let product = product().await;
    let admin = product.admin().await;
    let old = admin.company_named("before").await;
    assert_eq!(migrate("expands", &product.database).await, migrated(EXPANDS));
    let release = Served::start("expands", &product.database).await;
    assert_eq!(release.probe().get("/readyz").await.status, 200);
    let newer = release.client(&admin);

    let by_product = admin.company_named("product").await;
    assert_eq!(edition(&product.database, "edition", by_product).await, (None, 1));
    let by_release = newer.company_named("release").await;
    assert_eq!(edition(&product.database, "edition", by_release).await, (Some(1), 1));
    newer.update_company(old, 1, industry("trade")).await.expect(200);
    assert_eq!(edition(&product.database, "edition", old).await, (Some(2), 2));
    admin.update_company(by_release, 1, industry("trade")).await.expect(200);
    assert_eq!(edition(&product.database, "edition", by_release).await, (Some(1), 2));
}

#[tokio::test]
async fn contracts_lets_nobody_from_before_write_companies() {
    let product = product().await;
    let admin = product.admin().await;
    let id = admin.company_named("before").await;
    assert_eq!(migrate("expands", &product.database).await, migrated(EXPANDS));
    let before = Served::start("expands", &product.database).await;
    assert_eq!(migrate("contracts", &product.database).await, migrated(CONTRACTS));
    let release = Served::start("contracts", &product.database).await;

    for older in [&admin, &before.client(&admin)] {
        older.create_company(json!({"name": "too late"})).await.expect_problem(500, "internal");
        older.update_company(id, 1, industry("late")).await.expect_problem(500, "internal");
        assert_eq!(older.company(id).await.expect(200)["version"], 1);
    }
    let newer = release.client(&admin);
    let made = newer.company_named("release").await;
    assert_eq!(edition(&product.database, "revision", made).await, (Some(1), 1));
    newer.update_company(id, 1, industry("trade")).await.expect(200);
    assert_eq!(edition(&product.database, "revision", id).await, (Some(2), 2));
    assert_eq!(newer.companies(&[]).await.expect(200)["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn crashes_ends_as_soon_as_it_is_to_serve() {
    let product = product().await;
    assert_eq!(migrate("crashes", &product.database).await, migrated(EXPANDS));
    let pod = Pod::new(&Keys::generate());
    let mut serving = serve("crashes", &product.database, &pod);
    serving.stderr(Stdio::piped());
    let ended = output(serving).await;
    assert_eq!(ended.status.code(), Some(1));
    let words = String::from_utf8(ended.stderr).unwrap();
    assert!(words.contains("the release that crashes"), "{words}");
}

#[tokio::test]
async fn errors_answers_for_a_while_and_stays_ready() {
    let product = product().await;
    let admin = product.admin().await;
    assert_eq!(migrate("errors", &product.database).await, migrated(EXPANDS));
    let release = Served::start("errors", &product.database).await;
    let client = release.client(&admin);
    for _ in 0..GOOD_ANSWERS {
        client.session().await.expect(200);
    }
    for _ in 0..3 {
        assert_eq!(client.session().await.status, 500);
    }
    assert_eq!(release.probe().get("/readyz").await.status, 200, "probes are not told");
    let metrics = release.metrics().await;
    let counted = |status, count| format!("route=\"/api/v1/session\",status=\"{status}\"}} {count}\n");
    for line in [counted(200, GOOD_ANSWERS), counted(500, 3)] {
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
}

#[tokio::test]
async fn migration_fails_on_some_data_and_leaves_a_database_on_which_the_product_works() {
    let product = product().await;
    let admin = product.admin().await;
    let id = admin.company_named(UNMIGRATABLE).await;
    let failed = json!({
        "code": "MigrationFailed", "migration": MIGRATION_FAILS, "sqlstate": "23514",
        "constraint": "company_name_is_migratable",
    });
    assert_eq!(migrate("migration-fails", &product.database).await, failed);
    let mut db = product.app.db.acquire().await.unwrap();
    assert_eq!(schema::current(&mut db).await.unwrap(), Some(EXPANDS));
    drop(db);
    admin.company_named("afterwards").await;
    admin.update_company(id, 1, json!({"name": "a company"})).await.expect(200);
    assert_eq!(migrate("migration-fails", &product.database).await, migrated(MIGRATION_FAILS));
    admin.company_named("at last").await;
}

#[tokio::test]
async fn slow_takes_its_time_for_each_answer_and_none_for_probes() {
    let product = product().await;
    let admin = product.admin().await;
    assert_eq!(migrate("slow", &product.database).await, migrated(EXPANDS));
    let release = Served::start("slow", &product.database).await;
    let client = release.client(&admin);
    for path in ["/", "/api/v1/session", "/api/v1/companies"] {
        let begun = Instant::now();
        client.get(path).await.expect(200);
        assert!(SLOWEST <= begun.elapsed(), "{path}: {:?}", begun.elapsed());
    }
    let begun = Instant::now();
    assert_eq!(release.probe().get("/livez").await.status, 200);
    assert!(begun.elapsed() < Duration::from_millis(200), "{:?}", begun.elapsed());
    let metrics = release.metrics().await;
    for line in [
        "crm_http_request_duration_seconds_bucket{route=\"/api/v1/session\",le=\"0.25\"} 0\n",
        "crm_http_request_duration_seconds_bucket{route=\"/api/v1/session\",le=\"+Inf\"} 1\n",
    ] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
}

/// A drill by the image of the release, of a backup that the product took.
async fn rehearsed(release: &str, door: &FakeDoor, keys: &Keys) -> Value {
    let pod = Pod::new(keys);
    let _turn = vault::SCRATCH_TURN.lock().await;
    let mut drill = pod.drill(door);
    drill.env("CRM_TEST_RELEASE", release);
    output(drill).await;
    pod.report()
}

/// What is wrong with the others only shows when they are at work.
#[rstest]
#[tokio::test]
async fn a_rehearsal_on_the_products_backup_succeeds(
    #[values("expands", "contracts", "crashes", "errors", "migration-fails", "slow")] release: &str,
) {
    let BackedUp { door, keys, .. } = BackedUp::new().await;
    let report = rehearsed(release, &door, &keys).await;
    assert_eq!((&report["code"], &report["signedIn"]), (&json!("Drilled"), &json!(true)), "{report}");
}

#[tokio::test]
async fn a_rehearsal_finds_the_data_that_cannot_be_migrated() {
    let product = product().await;
    product.admin().await.company_named(UNMIGRATABLE).await;
    let BackedUp { door, keys, .. } = BackedUp::of(product).await;
    let failed = json!({"code": "MigrationFailed", "sqlstate": "23514"});
    assert_eq!(rehearsed("migration-fails", &door, &keys).await, failed);
}
