//! The second port, and the process as a whole.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use crm_app::{
    app::{self, App},
    health,
    leaving::{LINGER, Leaving},
};

use crate::{app::TestApp, client::Client, database::Database, door::WITHIN};

#[tokio::test]
async fn ready_means_that_somebody_can_sign_in() {
    let app = TestApp::start().await;
    let leaving = Leaving::default();
    let management = Client::new(health::router(app.app.clone(), leaving.clone()));
    assert_eq!(management.get("/livez").await.status, 200);
    assert_eq!(management.get("/readyz").await.status, 200);
    let db = app.database.superuser_pool().await;
    let newest = "update crm.schema_migration set version = version + 1000 where version = 4";
    sqlx::raw_sql(newest).execute(&db).await.unwrap();
    assert_eq!(management.get("/readyz").await.status, 200, "a newer schema is fine");
    sqlx::raw_sql("truncate crm.app_user cascade").execute(&db).await.unwrap();
    let reply = management.get("/readyz").await;
    assert_eq!(reply.status, 503);
    assert!(String::from_utf8(reply.bytes).unwrap().contains("nobody can sign in yet"));
    sqlx::raw_sql("delete from crm.schema_migration where version > 1000").execute(&db).await.unwrap();
    assert_eq!(management.get("/readyz").await.status, 503);
    sqlx::raw_sql("drop schema crm cascade").execute(&db).await.unwrap();
    let reply = management.get("/readyz").await;
    assert_eq!(reply.status, 503);
    assert!(String::from_utf8(reply.bytes).unwrap().contains("the schema is at 0"));
    leaving.begin();
    assert_eq!(management.get("/readyz").await.bytes, b"shutting down");
}

#[tokio::test]
async fn a_database_that_does_not_answer_is_said_within_two_seconds() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    // Takes connections and never says a word: worse than one that refuses.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    for port in [silent.local_addr().unwrap().port(), 1] {
        let options = app.database.options("crm_app").host("127.0.0.1").port(port);
        let cut_off = App { db: crm_app::db::pool(options, 5), ..app.app.clone() };
        let management = Client::new(health::router(cut_off.clone(), Leaving::default()));
        let mut client = Client::new(app::router(cut_off));
        client.cookie.clone_from(&admin.cookie);
        let started = Instant::now();
        let reply = client.session().await;
        reply.expect_problem(503, "unavailable");
        assert_eq!(reply.header("retry-after"), "1");
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
        let started = Instant::now();
        assert_eq!(management.get("/readyz").await.status, 503);
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
        assert_eq!(management.get("/livez").await.status, 200, "restarting would not help");
        assert_eq!(client.get("/").await.status, 200, "the front end shows what it has");
    }
}

#[tokio::test]
async fn metrics_have_bounded_labels() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let id = admin.company_named("示例").await;
    admin.company(id).await.expect(200);
    admin.get("/api/v1/whatever").await.expect(404);
    admin.get("/companies/whatever").await.expect(200);
    let management = Client::new(health::router(app.app.clone(), Leaving::default()));
    let text = String::from_utf8(management.get("/metrics").await.bytes).unwrap();
    for line in [
        r#"crm_http_requests_total{method="GET",route="/api/v1/companies/{id}",status="200"} 1"#,
        r#"crm_http_requests_total{method="GET",route="/api/{*rest}",status="404"} 1"#,
        r#"crm_http_requests_total{method="GET",route="assets",status="200"} 1"#,
        r#"crm_http_request_duration_seconds_count{route="/api/v1/companies"} 1"#,
        "crm_entitlement_revision 1",
        "crm_read_only 0",
        "crm_http_changes_in_flight 0",
        r#"crm_database_connections{state="max"} 5"#,
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(text.contains("crm_build_info{version="));
    assert!(!text.contains(&id.to_string()) && !text.contains("whatever"));
}

struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// Reads the log up to a line with this word, and gives that.
fn wait_for(word: &str, log: &mut Vec<String>, lines: &mut impl Iterator<Item = String>) -> String {
    let found = lines.by_ref().find(|line| {
        log.push(line.clone());
        line.contains(word)
    });
    found.unwrap_or_else(|| panic!("the log ended without {word}: {log:#?}"))
}

/// The front page by HTTP/1.1, which keeps connections unless told otherwise: the answer's head.
fn front_page(stream: &TcpStream) -> String {
    let mut writing = stream;
    writing.write_all(b"HEAD / HTTP/1.1\r\nhost: acme.crm.localhost\r\n\r\n").unwrap();
    let lines = BufReader::new(stream).lines().map(Result::unwrap);
    lines.take_while(|line| !line.is_empty()).fold(String::new(), |head, line| head + &line + "\n")
}

/// The real program, against a database that is not there yet.
#[tokio::test]
async fn the_process_listens_at_once_and_ends_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    fs::write(&password, "secret-canary").unwrap();
    let started = Instant::now();
    let child = Command::new(env!("CARGO_BIN_EXE_crm-app"))
        .args(["serve", "--listen", "127.0.0.1:0", "--management-listen", "127.0.0.1:0"])
        .args([
            "--database-host",
            "127.0.0.1",
            "--database-port",
            "1",
            "--public-url",
            "http://acme.crm.localhost",
        ])
        .arg("--database-password-file")
        .arg(&password)
        .arg("--entitlement-config")
        .arg(folder.path().join("config.json"))
        .arg("--entitlement-annotation")
        .arg(folder.path().join("annotation.json"))
        .stdout(Stdio::piped())
        .spawn();
    let mut process = Process(child.unwrap());
    let mut lines = BufReader::new(process.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut log = Vec::new();
    let listening = wait_for("serve.listening", &mut log, &mut lines);
    let listening: serde_json::Value = serde_json::from_str(&listening).unwrap();
    let address = listening["application"].as_str().unwrap();
    let (used, unused) = (TcpStream::connect(address).unwrap(), TcpStream::connect(address).unwrap());
    for stream in [&used, &unused] {
        stream.set_read_timeout(Some(WITHIN)).unwrap();
        assert!(!front_page(stream).contains("connection: close"));
    }
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    wait_for("serve.waits", &mut log, &mut lines);
    let id = process.0.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    let stopping = Instant::now();
    wait_for("serve.stopping", &mut log, &mut lines);
    for stream in [&used, &TcpStream::connect(address).unwrap()] {
        let head = front_page(stream);
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("connection: close"), "{head}");
    }
    // Whoever has not been told so is not hung up on while the gateway may still use what it keeps open.
    assert_eq!((&unused).read(&mut [0]).unwrap(), 0);
    assert!(LINGER <= stopping.elapsed(), "{:?}", stopping.elapsed());
    log.extend(lines);
    assert!(process.0.wait().unwrap().success());
    for line in &log {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "not JSON: {line}");
        assert!(!line.contains("secret-canary"));
    }
}

#[tokio::test]
async fn the_program_migrates_and_reports() {
    let database = Database::create().await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let (password, report) = (file("password", "crm-app-tests\n"), file("report", "what stood here before"));
    let options = database.options("crm_owner");
    let run = |port: &str, deadline: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crm-app"));
        command.args([
            "migrate",
            "--database-host",
            options.get_host(),
            "--database-port",
            port,
            "--deadline",
            deadline,
        ]);
        command
            .args(["--database-name", options.get_database().unwrap(), "--database-password-file"])
            .arg(&password);
        command.arg("--report").arg(&report).stdout(Stdio::null()).status().unwrap()
    };
    assert!(run(&options.get_port().to_string(), "60s").success());
    assert_eq!(fs::read_to_string(&report).unwrap(), r#"{"code":"Migrated","schemaVersion":4}"#);
    assert_eq!(run("1", "200ms").code(), Some(1));
    assert_eq!(fs::read_to_string(&report).unwrap(), r#"{"code":"DatabaseUnreachable"}"#);
}
