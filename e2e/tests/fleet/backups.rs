//! Backups from end to end: made by a tenant's own Job, kept behind the door, and readable by those two who have a key.

use std::{io::Read as _, time::Duration};

use age::x25519::Identity;
use anyhow::{Context as _, Result, ensure};
use e2e::{
    cluster::{self, Choice, Cluster as _, Forward},
    fleet::{Installed, backups},
    helm,
    host::wait::{Look, Wait},
};
use jiff::SignedDuration;
use k8s_openapi::api::{
    authentication::v1::TokenRequest,
    batch::v1::{CronJob, Job},
    core::v1::{Secret, ServiceAccount},
};
use kube::{Api, ResourceExt as _, api::PostParams};
use operator::{
    api::{Tenant, TenantBackup, TenantStatus, conditions},
    names,
};
use serde_json::{Value, json};

use crate::{alone, beside_others};

/// Of a Job that an administrator starts, until its result is in the status.
const MADE: Duration = Duration::from_mins(2);
/// From the start of a drill's Job to its end, for a tenant of the demo.
const DRILLED: SignedDuration = SignedDuration::from_secs(20);
/// How a dump in PostgreSQL's custom format begins.
const DUMP: &[u8] = b"PGDMP";

/// Runs a CronJob now, as an administrator would (`kubectl create job --from=cronjob/…`), and waits for what it brings and for the
/// end of its Job; also says how long that took, from its start.
pub(crate) async fn run_now<T: PartialEq>(
    fleet: &Installed,
    tenant: &str,
    cron_job: &str,
    last: impl Fn(TenantStatus) -> Option<T>,
    condition: &str,
) -> Result<(T, SignedDuration)> {
    let client = fleet.client().await?;
    let namespace = format!("tenant-{tenant}");
    let schedule = Api::<CronJob>::namespaced(client.clone(), &namespace).get(cron_job).await?;
    let template = schedule.spec.context("a CronJob has a spec")?.job_template;
    let tenants: Api<Tenant> = Api::all(client.clone());
    let last = |tenant: Tenant| tenant.status.and_then(&last);
    let before = last(tenants.get(tenant).await?);
    let mut job = Job { spec: template.spec, ..Job::default() };
    job.metadata.labels = template.metadata.and_then(|metadata| metadata.labels);
    job.metadata.generate_name = Some(format!("{cron_job}-by-hand-"));
    let jobs: Api<Job> = Api::namespaced(client, &namespace);
    let job = jobs.create(&PostParams::default(), &job).await?.name_any();
    Wait::new(format!("news of {cron_job} in the status of {tenant}"), MADE)
        .until(async || {
            let now = tenants.get(tenant).await?;
            let status = now.status.clone().unwrap_or_default();
            let said = conditions::find(&status.conditions, condition).map(|said| said.message.clone());
            let job = jobs.get(&job).await?.status.unwrap_or_default();
            Ok(match (last(now), job.start_time, job.completion_time) {
                (Some(news), Some(start), Some(end)) if before.as_ref() != Some(&news) => {
                    Look::Done((news, end.0.duration_since(start.0)))
                }
                (_, start, end) => {
                    Look::NotYet(format!("{condition} says {said:?}; the Job: {start:?} to {end:?}"))
                }
            })
        })
        .await
}

/// Asks for a backup and waits until the status of its tenant names it; returns its name.
pub(crate) async fn backed_up(fleet: &Installed, tenant: &str) -> Result<String> {
    let client = fleet.client().await?;
    let requests: Api<TenantBackup> = Api::all(client.clone());
    let tenants: Api<Tenant> = Api::all(client);
    let request = json!({
        "apiVersion": "tenantry.dev/v1alpha1", "kind": "TenantBackup",
        "metadata": {"generateName": format!("{tenant}-")}, "spec": {"tenant": tenant},
    });
    let made = requests.create(&PostParams::default(), &serde_json::from_value(request)?).await?;
    Wait::new(format!("a backup of {tenant}"), MADE)
        .until(async || {
            let status = requests.get(&made.name_any()).await?.status.unwrap_or_default();
            let last = tenants.get(tenant).await?.status.and_then(|status| status.last_backup);
            Ok(match (&status.backup, last) {
                (Some(backup), Some(last)) if *backup == last.backup => Look::Done(last.backup),
                (_, last) => Look::NotYet(format!("{status:?}, and the tenant says {last:?}")),
            })
        })
        .await
}

/// A token like that of a Job in the tenant's namespace.
async fn token(fleet: &Installed, tenant: &str) -> Result<String> {
    token_of(fleet, &format!("tenant-{tenant}"), "store").await
}

/// A token of a service account for the door.
async fn token_of(fleet: &Installed, namespace: &str, account: &str) -> Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(fleet.client().await?, namespace);
    let request: TokenRequest = serde_json::from_value(json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"audiences": ["tenantry-store"], "expirationSeconds": 600},
    }))?;
    let answer = accounts.create_token_request(account, &PostParams::default(), &request).await?;
    Ok(answer.status.context("a token was asked for")?.token)
}

/// Names of the backups that the store has of the tenant of that name and uid, gone or not.
pub(crate) async fn kept(fleet: &Installed, tenant: &str, uid: &str) -> Result<Vec<String>> {
    let operator = token_of(fleet, helm::NAMESPACE, names::OPERATOR).await?;
    let answer = Door::of(fleet).await?.get(&operator, &format!("{tenant}/{uid}")).await?;
    let list: Value = answer.error_for_status()?.json().await?;
    let manifests = list["backups"].as_array().context("the door lists backups")?;
    Ok(manifests.iter().filter_map(|manifest| manifest["id"].as_str().map(str::to_owned)).collect())
}

/// The door, as a Job sees it.
struct Door {
    address: String,
    http: reqwest::Client,
}

impl Door {
    async fn of(fleet: &Installed) -> Result<Self> {
        // Any port, and the same for everybody who asks.
        let forward = Forward {
            namespace: helm::NAMESPACE.into(),
            service: "tenantry-store".into(),
            port: 80,
            local_port: 0,
        };
        let cluster = cluster::choose(&Choice::named(&fleet.cluster)).await?;
        let address = format!("http://{}", cluster.forward(&forward).await?);
        Ok(Self { address, http: reqwest::Client::builder().no_proxy().build()? })
    }

    async fn get(&self, token: &str, path: &str) -> Result<reqwest::Response> {
        let url = format!("{}/v1/{}/{path}", self.address, backups::STORE);
        Ok(self.http.get(url).bearer_auth(token).send().await?)
    }
}

fn decrypted(data: &[u8], key: &Identity) -> Result<Vec<u8>> {
    let mut plain = Vec::new();
    age::Decryptor::new(data)?
        .decrypt(std::iter::once(key as &dyn age::Identity))?
        .read_to_end(&mut plain)?;
    Ok(plain)
}

#[tokio::test]
async fn a_backup_is_made_and_can_be_read_by_those_who_have_a_key_and_by_nobody_else() -> Result<()> {
    let (fleet, _turn) = beside_others().await?;
    let (backup, _) =
        run_now(&fleet, "acme", "backup", |status| status.last_backup, conditions::BACKUP_RECENT).await?;
    let tenant = Api::<Tenant>::all(fleet.client().await?).get("acme").await?;
    let status = tenant.status.clone().unwrap_or_default();
    let recent = conditions::find(&status.conditions, conditions::BACKUP_RECENT).context("BackupRecent")?;
    ensure!(recent.status == "True", "BackupRecent is {recent:?}");
    ensure!(Some(backup.schema_version) == status.schema_version, "{backup:?} has another schema");

    let door = Door::of(&fleet).await?;
    let own = token(&fleet, "acme").await?;
    let path = format!("acme/{}/{}", tenant.uid().unwrap_or_default(), backup.backup);
    let manifest: Value =
        door.get(&own, &format!("{path}/manifest.json")).await?.error_for_status()?.json().await?;
    let data = door.get(&own, &format!("{path}/data")).await?.error_for_status()?.bytes().await?;
    ensure!(
        manifest["data"]["size"] == data.len() && backup.size == i64::try_from(data.len())?,
        "{manifest}"
    );
    ensure!(!data.windows(DUMP.len()).any(|window| window == DUMP), "the dump is not encrypted");

    let secrets: Api<Secret> = Api::namespaced(fleet.client().await?, "tenant-acme");
    let secret = secrets.get("backup-identity").await?.data.unwrap_or_default();
    let key = std::str::from_utf8(&secret["identity"].0)?.parse::<Identity>();
    let key = key.map_err(|why| anyhow::anyhow!("the tenant's key is none of age: {why}"))?;
    let dump = decrypted(&data, &key)?;
    ensure!(dump.starts_with(DUMP), "what was encrypted is no dump");
    ensure!(
        decrypted(&data, &backups::recovery_key(&fleet.cluster)?)? == dump,
        "the recovery key reads something else"
    );
    ensure!(decrypted(&data, &Identity::generate()).is_err(), "any key reads it");

    let foreign = token(&fleet, "bluesky").await?;
    for path in [
        format!("{path}/data"),
        format!("{path}/manifest.json"),
        format!("acme/{}", tenant.uid().unwrap_or_default()),
    ] {
        let status = door.get(&foreign, &path).await?.status();
        ensure!(status == reqwest::StatusCode::FORBIDDEN, "bluesky asked for {path} and got {status}");
    }
    Ok(())
}

#[tokio::test]
async fn a_drill_proves_the_newest_backup() -> Result<()> {
    // It is given a time, so nothing else is to be going on.
    let (fleet, _turn) = alone().await?;
    run_now(&fleet, "bluesky", "backup", |status| status.last_backup, conditions::BACKUP_RECENT).await?;
    let (drill, took) =
        run_now(&fleet, "bluesky", "drill", |status| status.last_drill, conditions::BACKUP_VERIFIED).await?;
    println!("drill of a demo tenant: {took:#} from the start of its Job to its end, {drill:?}");
    ensure!(took <= DRILLED, "the drill took {took:#}, and may take {DRILLED:#}");
    ensure!(drill.result == "Verified" && drill.rows.is_some_and(|rows| 0 < rows), "{drill:?}");
    let tenant = Api::<Tenant>::all(fleet.client().await?).get("bluesky").await?;
    let status = tenant.status.unwrap_or_default();
    ensure!(drill.backup == status.last_backup.as_ref().map(|last| last.backup.clone()), "{status:?}");
    let verified =
        conditions::find(&status.conditions, conditions::BACKUP_VERIFIED).context("BackupVerified")?;
    ensure!(verified.status == "True", "BackupVerified is {verified:?}");
    Ok(())
}
