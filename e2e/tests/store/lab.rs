//! A control plane with the chart, two tenants' namespaces, a door, and stores behind it.

use std::{
    fs::OpenOptions,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    sync::LazyLock,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use e2e::{
    cluster::{ControlPlane, kubeconfig},
    helm::{self, Pods},
    host::wait::{Look, Wait},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::{Namespace, Secret, ServiceAccount},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use operator::{api::BackupStore, store::AUDIENCE};
use reqwest::{Method, Response, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use crate::storage::Storage;

/// Long enough for a busy machine; a test that passes takes far less.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);
pub(crate) const RECIPIENT: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
/// The claim of the store `volume`.
pub(crate) const CLAIM: &str = "backups";
/// How often the door looks for what need not be kept.
pub(crate) const SWEEP_INTERVAL: &str = "1s";
/// How long the door waits for a store or a client that says nothing.
const HASTE: &str = "3s";
/// The stores that work.
pub(crate) const STORES: [&str; 2] = ["bucket", "volume"];

/// Everything that a test of the door needs.
pub(crate) struct Lab {
    pub(crate) control_plane: ControlPlane,
    pub(crate) client: Client,
    pub(crate) storage: Storage,
    pub(crate) folder: TempDir,
    pub(crate) door: Door,
    pub(crate) http: reqwest::Client,
}

/// A tenant with a token of its Job's account.
pub(crate) struct Tenant {
    pub(crate) name: &'static str,
    pub(crate) uid: String,
    pub(crate) token: String,
}

impl Tenant {
    /// Where an object of a backup is.
    pub(crate) fn path(&self, store: &str, rest: &str) -> String {
        let end = if rest.is_empty() { String::new() } else { format!("/{rest}") };
        format!("/v1/{store}/{}/{}{end}", self.name, self.uid)
    }
}

impl Lab {
    /// With the stores `bucket` and `volume`, both Ready.
    pub(crate) async fn start() -> Result<Self> {
        let lab = Self::without_stores().await?;
        lab.make_store("bucket", json!({"s3": lab.storage.s3("backups")})).await?;
        lab.make_store("volume", json!({"volume": {"claim": CLAIM}})).await?;
        for store in STORES {
            lab.until_reason(store, "True", "Probed").await?;
        }
        Ok(lab)
    }

    pub(crate) async fn without_stores() -> Result<Self> {
        let control_plane = ControlPlane::start().await?;
        let values = json!({"store": {"credentialsSecrets": ["s3", "unmade"], "claims": [CLAIM]}});
        helm::install(control_plane.kubeconfig(), &values, Pods::Leave).await?;
        let client = control_plane.client().await?;
        let folder = TempDir::new()?;
        std::fs::create_dir_all(folder.path().join("claims").join(CLAIM))?;
        let storage = Storage::start(folder.path()).await?;
        let secret = json!({
            "metadata": {"name": "s3"},
            "stringData": {"accessKeyId": storage.access_key, "secretAccessKey": storage.secret_key},
        });
        let secrets: Api<Secret> = Api::namespaced(client.clone(), helm::NAMESPACE);
        secrets.create(&PostParams::default(), &serde_json::from_value(secret)?).await?;
        let door = Door::start(&control_plane, folder.path(), SWEEP_INTERVAL, HASTE).await?;
        Ok(Self { control_plane, client, storage, folder, door, http: reqwest::Client::new() })
    }

    /// The bucket `backups` as a BackupStore names it, by another address.
    pub(crate) fn bucket_at(&self, address: &str) -> Value {
        let mut bucket = self.storage.s3("backups");
        bucket["endpoint"] = json!(format!("http://{address}"));
        json!({ "s3": bucket })
    }

    /// Makes a BackupStore.
    pub(crate) async fn make_store(&self, name: &str, place: Value) -> Result<()> {
        let mut spec = json!({"recoveryRecipients": [RECIPIENT]});
        for (key, value) in place.as_object().context("a place is an object")? {
            spec[key] = value.clone();
        }
        let store = json!({
            "apiVersion": "tenantry.dev/v1alpha1", "kind": "BackupStore", "metadata": {"name": name}, "spec": spec,
        });
        let stores: Api<BackupStore> = Api::all(self.client.clone());
        stores.create(&PostParams::default(), &serde_json::from_value(store)?).await?;
        Ok(())
    }

    pub(crate) async fn change_store(&self, name: &str, spec: Value) -> Result<()> {
        let stores: Api<BackupStore> = Api::all(self.client.clone());
        let patch = Patch::Merge(json!({"spec": spec}));
        stores.patch(name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Waits until the condition Ready speaks of the present spec and has that status and reason; returns its message.
    pub(crate) async fn until_reason(&self, name: &str, status: &str, reason: &str) -> Result<String> {
        let stores: Api<BackupStore> = Api::all(self.client.clone());
        Wait::new(format!("store {name}: Ready={status}, {reason}"), DEADLINE)
            .explained_by(&self.door.log)
            .until(async || {
                let store = stores.get(name).await?;
                let conditions = store.status.unwrap_or_default().conditions;
                let ready = conditions.iter().find(|condition| condition.type_ == "Ready");
                Ok(match ready {
                    Some(ready)
                        if ready.status == status
                            && ready.reason == reason
                            && ready.observed_generation == store.metadata.generation =>
                    {
                        Look::Done(ready.message.clone())
                    }
                    other => Look::NotYet(format!("{other:?}")),
                })
            })
            .await
    }

    /// A tenant's namespace as the operator makes it, with the account of its Jobs.
    pub(crate) async fn tenant(&self, name: &'static str, uid: &str) -> Result<Tenant> {
        let labels = json!({"tenantry.dev/tenant": name, "tenantry.dev/tenant-uid": uid});
        let namespace = format!("tenant-{name}");
        self.namespace(&namespace, labels).await?;
        let token = self.token(&namespace, "store", &[AUDIENCE]).await?;
        Ok(Tenant { name, uid: uid.to_owned(), token })
    }

    pub(crate) async fn namespace(&self, name: &str, labels: Value) -> Result<()> {
        // Nobody but the operator gives namespaces such labels.
        let client = kubeconfig::break_glass(self.control_plane.kubeconfig()).await?;
        let namespace = serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}}))?;
        Api::<Namespace>::all(client).create(&PostParams::default(), &namespace).await?;
        Ok(())
    }

    /// A token of an account, which is made when it is not there.
    pub(crate) async fn token(&self, namespace: &str, account: &str, audiences: &[&str]) -> Result<String> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        if accounts.get_opt(account).await?.is_none() {
            let made = serde_json::from_value(json!({"metadata": {"name": account}}))?;
            accounts.create(&PostParams::default(), &made).await?;
        }
        let audiences = audiences.iter().map(|audience| (*audience).to_owned()).collect();
        let spec = TokenRequestSpec { audiences, ..TokenRequestSpec::default() };
        let request = TokenRequest { spec, ..TokenRequest::default() };
        let answer = accounts.create_token_request(account, &PostParams::default(), &request).await?;
        Ok(answer.status.context("a token request is answered with a token")?.token)
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        token: &str,
        path: &str,
        body: impl Into<reqwest::Body>,
    ) -> Result<Response> {
        let url = format!("http://{}{path}", self.door.address);
        let request = self.http.request(method, url).bearer_auth(token).body(body).timeout(DEADLINE);
        request.send().await.with_context(|| path.to_owned())
    }

    /// Sends a request and returns status, reason and message of the refusal.
    pub(crate) async fn refusal(
        &self,
        method: Method,
        token: &str,
        path: &str,
        body: impl Into<reqwest::Body>,
    ) -> Result<(StatusCode, String, String)> {
        let answer = self.send(method, token, path, body).await?;
        let status = answer.status();
        let problem: Value = answer.json().await.with_context(|| format!("{path}: {status}"))?;
        let word = |key: &str| problem[key].as_str().unwrap_or_default().to_owned();
        Ok((status, word("reason"), word("message")))
    }

    pub(crate) async fn put(
        &self,
        tenant: &Tenant,
        store: &str,
        rest: &str,
        body: Vec<u8>,
    ) -> Result<Response> {
        self.send(Method::PUT, &tenant.token, &tenant.path(store, rest), body).await
    }

    /// Puts a whole backup.
    pub(crate) async fn put_backup(&self, tenant: &Tenant, store: &str, id: &str, data: &[u8]) -> Result<()> {
        let answer = self.put(tenant, store, &format!("{id}/data"), data.to_vec()).await?;
        ensure!(answer.status() == StatusCode::CREATED, "{}: {}", answer.status(), answer.text().await?);
        let manifest = manifest(tenant, store, id, data.len());
        let answer =
            self.put(tenant, store, &format!("{id}/manifest.json"), manifest.to_string().into()).await?;
        ensure!(answer.status() == StatusCode::CREATED, "{}: {}", answer.status(), answer.text().await?);
        Ok(())
    }

    pub(crate) async fn get(&self, tenant: &Tenant, store: &str, rest: &str) -> Result<Response> {
        self.send(Method::GET, &tenant.token, &tenant.path(store, rest), "").await
    }

    /// The ids of a tenant's backups, as the door lists them.
    pub(crate) async fn list(&self, tenant: &Tenant, store: &str) -> Result<Vec<String>> {
        let answer = self.get(tenant, store, "").await?;
        ensure!(answer.status() == StatusCode::OK, "{}: {}", answer.status(), answer.text().await?);
        let list: Value = answer.json().await?;
        let backups = list["backups"].as_array().context("backups is a list")?;
        Ok(backups.iter().filter_map(|backup| backup["id"].as_str().map(str::to_owned)).collect())
    }

    /// Ends the door without a warning.
    pub(crate) async fn kill_door(&mut self) -> Result<()> {
        Ok(self.door.child.kill().await?)
    }

    /// Starts the door again after it was killed.
    pub(crate) async fn restart_door(&mut self, sweep_interval: &str) -> Result<()> {
        self.kill_door().await?;
        self.door = Door::start(&self.control_plane, self.folder.path(), sweep_interval, HASTE).await?;
        Ok(())
    }

    /// Starts the door again, for what is not about stores that are slow: then a disk that is busy is none.
    pub(crate) async fn restart_patient_door(&mut self) -> Result<()> {
        self.kill_door().await?;
        self.door = Door::start(&self.control_plane, self.folder.path(), "1h", "1m").await?;
        Ok(())
    }

    /// All files of tenants on the volume and in the bucket, finished or not.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let roots = [self.storage.root.join("backups"), self.folder.path().join("claims").join(CLAIM)];
        let all = roots.iter().flat_map(walkdir::WalkDir::new).filter_map(Result::ok);
        all.filter(|entry| entry.file_type().is_file()).map(walkdir::DirEntry::into_path).collect()
    }
}

/// The name of a backup of that time.
pub(crate) fn id(at: Timestamp, chance: &str) -> String {
    format!("{}-{chance}", at.strftime("%Y%m%dT%H%M%SZ"))
}

/// The names of a backup and of a newer one, such as can be put now.
pub(crate) fn ids() -> (&'static str, &'static str) {
    static IDS: LazyLock<(String, String)> = LazyLock::new(|| {
        let ago = |hours| now() - SignedDuration::from_hours(hours);
        (id(ago(2), "aaaaaa"), id(ago(1), "bbbbbb"))
    });
    (&IDS.0, &IDS.1)
}

#[expect(clippy::disallowed_methods, reason = "door and API server go by the clock of the machine")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// A manifest that fits.
pub(crate) fn manifest(tenant: &Tenant, store: &str, id: &str, size: usize) -> Value {
    let (date, time) = (&id[..8], &id[9..15]);
    let date = [&date[..4], &date[4..6], &date[6..]].join("-");
    let time = [&time[..2], &time[2..4], &time[4..]].join(":");
    json!({
        "version": 1, "id": id, "store": store, "tenant": {"name": tenant.name, "uid": tenant.uid},
        "reason": "OnDemand", "createdAt": format!("{date}T{time}Z"), "app": {"version": "0.1.0"},
        "schemaVersion": 3, "postgresVersion": "17.6", "lsn": "0/16B3748",
        "data": {"size": size, "sha256": "a".repeat(64)}, "dump": {"size": size, "sha256": "b".repeat(64)},
        "tables": [{"name": "company", "rows": 2}], "recipients": [RECIPIENT],
    })
}

/// A running door. It dies with the thread that started it, and when it is dropped.
pub(crate) struct Door {
    child: Child,
    pub(crate) address: String,
    pub(crate) management: String,
    pub(crate) log: PathBuf,
}

impl Door {
    /// Starts a door with the rights that the chart gives it.
    async fn start(
        control_plane: &ControlPlane,
        folder: &Path,
        sweep_interval: &str,
        patience: &str,
    ) -> Result<Self> {
        let (address, management) = (free_address()?, free_address()?);
        let log = folder.join("door.log");
        let out = OpenOptions::new().create(true).append(true).open(&log)?;
        let kubeconfig = control_plane.kubeconfig_for_service_account(helm::NAMESPACE, "tenantry-store")?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_e2e"), "store"])
            .args(["--listen", &address, "--management", &management])
            .arg("--claims")
            .arg(folder.join("claims"))
            .args(["--store-timeout", patience, "--body-timeout", patience, "--probe-interval", "2s"])
            .args(["--drain-timeout", "1s", "--sweep-interval", sweep_interval])
            .env("KUBECONFIG", kubeconfig)
            .env("RUST_LOG", "info,operator=debug,kube_client=off")
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start the door")?;
        let door = Self { child, address, management, log };
        let ready = format!("http://{}/readyz", door.management);
        Wait::new("the door to open", DEADLINE)
            .explained_by(&door.log)
            .until(async || {
                let status = reqwest::get(&ready).await?.status();
                Ok(if status.is_success() { Look::Done(()) } else { Look::NotYet(status.to_string()) })
            })
            .await?;
        Ok(door)
    }

    /// Asks it to end, and waits until it has.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        let pid =
            self.child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())).context("the door runs")?;
        kill_process(pid, Signal::TERM)?;
        let status = timeout(DEADLINE, self.child.wait()).await.context("the door does not end")??;
        ensure!(status.success(), "the door ended with {status}");
        Ok(())
    }

    /// The largest memory that it ever had, in bytes.
    pub(crate) fn peak_memory(&self) -> Result<u64> {
        let pid = self.child.id().context("the door runs")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("a peak")?;
        let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kilobytes << 10)
    }
}

pub(crate) fn free_address() -> Result<String> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.to_string())
}
