//! The addresses that CNI gave to pods, as libcni records them on this node.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::Ipv4Addr,
    path::Path,
};

use anyhow::{Context, Result};
use futures::{Stream, StreamExt};
use inotify::{Inotify, WatchMask};
use ipnet::Ipv4Net;
use serde::Deserialize;

/// The pods' UIDs by address; several when clusters on this machine use the same pod network.
pub(super) type Attachments = BTreeMap<Ipv4Addr, BTreeSet<String>>;

/// One file of libcni: the attachment of one sandbox to one network.
#[derive(Debug, Deserialize)]
struct Record {
    #[serde(rename = "cniArgs", default)]
    arguments: Vec<(String, String)>,
    #[serde(default)]
    result: Outcome,
}

#[derive(Debug, Default, Deserialize)]
struct Outcome {
    #[serde(default)]
    ips: Vec<Given>,
}

#[derive(Debug, Deserialize)]
struct Given {
    address: String,
}

/// Reads all records. One that is being written or removed is left out: the change is announced when it is complete.
pub(super) fn read(folder: &Path) -> Result<Attachments> {
    let mut attachments = Attachments::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let Ok(text) = fs::read(entry?.path()) else { continue };
        for (address, uid) in parse(&text) {
            attachments.entry(address).or_default().insert(uid);
        }
    }
    Ok(attachments)
}

/// Announces each change of the records.
pub(super) fn watch(folder: &Path) -> Result<impl Stream<Item = Result<()>> + use<>> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let inotify = Inotify::init().context("cannot watch files")?;
    let changes = WatchMask::CLOSE_WRITE | WatchMask::MOVED_TO | WatchMask::DELETE;
    inotify.watches().add(folder, changes).with_context(|| format!("cannot watch {}", folder.display()))?;
    let events = inotify.into_event_stream([0; 4096]).context("cannot watch files")?;
    Ok(events.map(|event| event.map(|_| ()).context("cannot watch files")))
}

fn parse(text: &[u8]) -> Vec<(Ipv4Addr, String)> {
    let Ok(record) = serde_json::from_slice::<Record>(text) else { return Vec::new() };
    let Some((_, uid)) = record.arguments.into_iter().find(|(name, _)| name == "K8S_POD_UID") else {
        return Vec::new();
    };
    let addresses = record.result.ips.iter().filter_map(|given| given.address.parse::<Ipv4Net>().ok());
    addresses.map(|network| (network.addr(), uid.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"kind":"cniCacheV1","containerId":"c1","config":"e30=","ifName":"eth0",
        "networkName":"pods","cniArgs":[["IgnoreUnknown","1"],["K8S_POD_NAMESPACE","default"],["K8S_POD_UID","u1"]],
        "result":{"cniVersion":"0.4.0","interfaces":[],"ips":[{"version":"4","interface":1,
        "address":"198.18.64.2/18","gateway":"198.18.64.1"}],"dns":{}}}"#;

    #[tokio::test]
    async fn records_are_read_and_announced() {
        let folder = tempfile::tempdir().unwrap();
        let mut changes = Box::pin(watch(folder.path()).unwrap());
        fs::write(folder.path().join("pods-c1-eth0"), RECORD).unwrap();
        fs::write(folder.path().join("pods-c2-eth0"), "{\"kind\":").unwrap();
        changes.next().await.unwrap().unwrap();
        let expected = Attachments::from([([198, 18, 64, 2].into(), BTreeSet::from(["u1".to_owned()]))]);
        assert_eq!(read(folder.path()).unwrap(), expected);
    }
}
