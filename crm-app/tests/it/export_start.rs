//! The CRM, started from an exit bundle alone: a PostgreSQL that has never seen anything, and what the bundle's README and
//! `compose.yaml` say. There is no Docker here: what the images would run is run as it stands, with paths of this machine.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
};

use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};

use crate::{
    app::{ADMIN, PASSWORD, TestApp},
    bundle::{Bundle, IMAGE},
    door::WITHIN,
};

/// As browsers know it.
const HOST: &str = "localhost:8080";

#[derive(Deserialize)]
struct Compose {
    services: BTreeMap<String, Service>,
    secrets: BTreeMap<String, Secret>,
}

#[derive(Deserialize)]
struct Service {
    image: String,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    secrets: Vec<String>,
    #[serde(default)]
    volumes: Vec<String>,
}

#[derive(Deserialize)]
struct Secret {
    file: String,
}

/// The commands of the first block under `## Start it`.
fn commands(readme: &str) -> Vec<&str> {
    let block = readme.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    block.lines().collect()
}

#[tokio::test]
async fn the_crm_starts_from_the_bundle_alone() {
    let bundle = {
        let app = TestApp::start().await;
        let admin = app.admin().await;
        admin.company_named("杭州示例").await;
        Bundle::of(&app.database).await
        // The database where it came from is gone.
    };
    let readme = bundle.text("README.md");
    let steps = commands(&readme);
    assert_eq!(steps, commands(&bundle.text("README.zh-CN.md")));
    let mut running = None;
    for step in steps {
        if step == "docker compose up --detach" {
            running = Some(Running::start(&bundle.path(), &bundle.text("compose.yaml")));
        } else {
            let ended = Command::new("sh").args(["-c", step]).current_dir(bundle.path()).output().unwrap();
            assert!(ended.status.success(), "{step}: {ended:?}");
        }
    }
    let mut running = running.expect("the README starts nothing");
    running.ready().await;

    let credentials = json!({"email": ADMIN, "password": PASSWORD});
    let signed_in = running.ask("POST", "/api/v1/session", None, Some(&credentials)).await;
    assert_eq!(signed_in.status(), 200);
    let cookie = signed_in.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let session = body(signed_in).await;
    assert_eq!(session["workspace"]["displayName"], "杭州艾克米");
    assert_eq!(session["workspace"]["state"], "Active");
    let companies = body(running.ask("GET", "/api/v1/companies", Some(&cookie), None).await).await;
    assert_eq!(companies["items"][0]["name"], "杭州示例");
}

/// What Compose would have started. It is stopped with this value.
struct Running {
    child: std::process::Child,
    application: u16,
    management: u16,
}

impl Running {
    fn start(folder: &Path, compose: &str) -> Self {
        let compose: Compose = serde_saphyr::from_str(compose).unwrap();
        let [application, management] = [free_port(), free_port()];
        let crm = |service: &str| compose.command(service, folder);
        let initdb = compose.mounted("database", "/docker-entrypoint-initdb.d/restore.sh", folder);
        let dump = compose.mounted("database", "/docker-entrypoint-initdb.d/crm.dump", folder);
        // The address of a server is not what the image postgres has, and its passwords are not in /run/secrets.
        let script = format!(
            "set -eu\nserver=${{DATABASE_URL#*@}} server=${{server%%/*}}\n\
             export PGHOST=${{server%:*}} PGPORT=${{server#*:}} CRM_DATABASE_PORT=${{server#*:}}\n\
             SECRETS='{}' DUMP='{dump}' sh '{initdb}'\n{}\nexec {}",
            folder.join("secrets").display(),
            crm("migrate"),
            crm("crm"),
        );
        #[expect(clippy::disallowed_methods, reason = "where the tests' servers come from")]
        let fresh = std::env::var("FRESH_POSTGRES").unwrap_or_else(|_| {
            panic!("FRESH_POSTGRES is not set, run: cargo e2e postgres -- cargo test -p crm-app")
        });
        let mut command = Command::new(fresh);
        command.args(["postgres", "--", "sh", "-c", &script]);
        command.env("CRM_LISTEN", format!("127.0.0.1:{application}"));
        command.env("CRM_MANAGEMENT_LISTEN", format!("127.0.0.1:{management}"));
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        Self { child, application, management }
    }

    /// Waits until `/readyz` says so.
    async fn ready(&mut self) {
        let ready = async {
            loop {
                assert_eq!(self.child.try_wait().unwrap(), None, "it has ended");
                let answer = send(self.management, Request::get("/readyz")).await;
                if answer.is_some_and(|answer| answer.status() == 200) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(2 * WITHIN, ready).await.expect("it never became ready");
    }

    async fn ask(
        &self,
        method: &str,
        path: &str,
        cookie: Option<&str>,
        content: Option<&Value>,
    ) -> Response<hyper::body::Incoming> {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(cookie) = cookie {
            request = request.header("cookie", cookie);
        }
        let content = content.map(Value::to_string).unwrap_or_default();
        let request =
            request.header("content-type", "application/json").header("origin", format!("http://{HOST}"));
        send_with(self.application, request, content).await.expect("it does not answer")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            _ = kill_process_group(group, Signal::KILL);
        }
        _ = self.child.wait();
    }
}

impl Compose {
    /// What a service of the CRM's image runs, on this machine.
    fn command(&self, service: &str, folder: &Path) -> String {
        let Service { image, command, secrets, volumes } = &self.services[service];
        assert_eq!(image, IMAGE);
        let mut words = vec![env!("CARGO_BIN_EXE_crm-app").to_owned()];
        for word in command {
            let mut word = word.replace("--database-host=database", "--database-host=127.0.0.1");
            for secret in secrets {
                let file = folder.join(&self.secrets[secret].file);
                word = word.replace(&format!("/run/secrets/{secret}"), &file.display().to_string());
            }
            for (here, there) in volumes.iter().map(|volume| parts(volume)) {
                word = word.replace(there, &folder.join(here).display().to_string());
            }
            assert!(!word.contains("/run/"), "not mounted: {word}");
            words.push(format!("\"{word}\""));
        }
        words.join(" ")
    }

    /// Where a file of a container is on this machine.
    fn mounted(&self, service: &str, path: &str, folder: &Path) -> String {
        let volumes = self.services[service].volumes.iter().map(|volume| parts(volume));
        let (here, _) = volumes.into_iter().find(|(_, there)| *there == path).expect("not mounted");
        folder.join(here).display().to_string()
    }
}

fn parts(volume: &str) -> (&str, &str) {
    let mut parts = volume.split(':');
    (parts.next().unwrap(), parts.next().unwrap())
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn send(port: u16, request: hyper::http::request::Builder) -> Option<Response<hyper::body::Incoming>> {
    send_with(port, request, String::new()).await
}

async fn send_with(
    port: u16,
    request: hyper::http::request::Builder,
    content: String,
) -> Option<Response<hyper::body::Incoming>> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    let request = request.header("host", HOST).body(Full::new(Bytes::from(content))).unwrap();
    sender.send_request(request).await.ok()
}

async fn body(response: Response<hyper::body::Incoming>) -> Value {
    serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
}
