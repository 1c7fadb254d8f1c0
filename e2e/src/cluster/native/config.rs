//! Configuration files of the node, rendered from `e2e/cluster/node/`.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};

use super::{
    images::SystemImages,
    layout::{DNS, Layout, NODE, PODS},
};
use crate::{cluster::server_parts::AUDIT_POLICY, host::files};

const KUBELET: &str = include_str!("../../../cluster/node/kubelet.yaml");
const KUBE_PROXY: &str = include_str!("../../../cluster/node/kube-proxy.yaml");
const CONTAINERD: &str = include_str!("../../../cluster/node/containerd.toml");
const CNI: &str = include_str!("../../../cluster/node/cni.conflist");
const ACCESS: &str = include_str!("../../../cluster/manifests/access.yaml");
const COREDNS: &str = include_str!("../../../cluster/manifests/coredns.yaml");
const VOLUMES: &str = include_str!("../../../cluster/manifests/volumes.yaml");
/// Bit of CAP_SYS_RESOURCE in the kernel's capability sets.
const CAP_SYS_RESOURCE: u32 = 24;

/// Writes the configuration files of all parts.
pub(super) fn write(layout: &Layout, images: &SystemImages) -> Result<()> {
    let values = values(layout, images)?;
    let files = [
        ("config/kubelet.yaml", KUBELET),
        ("config/kube-proxy.yaml", KUBE_PROXY),
        ("config/containerd.toml", CONTAINERD),
        ("config/audit-policy.yaml", AUDIT_POLICY),
        ("cni/10-pods.conflist", CNI),
        // Pods whose DNS policy is `Default` get this: there is no name server outside.
        ("config/resolv.conf", "nameserver 127.0.0.1\n"),
    ];
    for (path, template) in files {
        files::write_atomically(&layout.path(path), render(template, &values)?.as_bytes())?;
    }
    Ok(())
}

/// The objects that make the node a cluster, as one YAML stream.
pub(super) fn manifests(layout: &Layout, images: &SystemImages) -> Result<String> {
    let values = values(layout, images)?;
    let rendered: Result<Vec<String>> =
        [ACCESS, COREDNS, VOLUMES].iter().map(|template| render(template, &values)).collect();
    Ok(rendered?.join("---\n"))
}

type Values = Vec<(&'static str, String)>;

fn values(layout: &Layout, images: &SystemImages) -> Result<Values> {
    Ok(vec![
        ("STATE", layout.root().to_str().context("the cache folder's path is not UTF-8")?.to_owned()),
        ("CGROUP", layout.machine_name()),
        ("NODE", NODE.to_owned()),
        ("PODS", PODS.to_owned()),
        ("DNS", DNS.to_string()),
        ("RESTRICT_OOM_SCORE", (!may_lower_oom_score()?).to_string()),
        ("PAUSE", images.pause.reference()),
        ("COREDNS", images.coredns.reference()),
        ("VOLUME_PROVISIONER", images.volume_provisioner.reference()),
    ])
}

/// Puts values in the place of `${NAME}`.
fn render(template: &str, values: &Values) -> Result<String> {
    let mut text = template.to_owned();
    for (name, value) in values {
        text = text.replace(&format!("${{{name}}}"), value);
    }
    if let Some((_, rest)) = text.split_once("${") {
        bail!("a template names something unknown: ${{{}", rest.chars().take(30).collect::<String>());
    }
    Ok(text)
}

fn may_lower_oom_score() -> Result<bool> {
    let status = fs::read_to_string(Path::new("/proc/self/status"))?;
    let effective =
        status.lines().find_map(|line| line.strip_prefix("CapEff:")).context("no CapEff in status")?;
    Ok(u64::from_str_radix(effective.trim(), 16)? >> CAP_SYS_RESOURCE & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_filled_in_and_unknown_ones_refused() {
        let values = vec![("A", "1".to_owned())];
        assert_eq!(render("a: ${A}", &values).unwrap(), "a: 1");
        assert!(render("b: ${B}", &values).unwrap_err().to_string().contains("${B}"));
    }
}
