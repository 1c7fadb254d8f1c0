//! Files that people copy from are right: the samples, and the CRDs that the chart carries.

#![expect(
    clippy::disallowed_methods,
    reason = "a test has no args.rs: this is where its environment is read"
)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use operator::api::{BackupStore, Channel, Plan, Release, Tenant};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

fn workspace() -> &'static Path {
    e2e::toolchain::workspace()
}

/// The YAML files of a folder by name.
fn yaml_files(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let files = entries.map(|entry| {
        let entry = entry?;
        Ok((entry.file_name().to_string_lossy().into_owned(), entry.path()))
    });
    let mut files: BTreeMap<_, _> = files.collect::<Result<_>>()?;
    files.retain(|_, path| path.extension().is_some_and(|extension| extension == "yaml"));
    ensure!(!files.is_empty(), "{} has no YAML files", folder.display());
    Ok(files)
}

/// Reads an object as the operator would, and complains about fields that the operator would not see.
fn read_strictly<K: DeserializeOwned + Serialize>(written: &Value) -> Result<()> {
    let understood = serde_json::to_value(serde_json::from_value::<K>(written.clone())?)?;
    check_kept(written, &understood, "")
}

/// Everything that was written is there after a round trip through the type.
fn check_kept(written: &Value, understood: &Value, path: &str) -> Result<()> {
    match (written, understood) {
        (Value::Object(written), Value::Object(understood)) => {
            for (key, value) in written {
                let path = format!("{path}.{key}");
                let kept = understood.get(key).with_context(|| format!("{path} is not a field"))?;
                check_kept(value, kept, &path)?;
            }
        }
        (Value::Array(written), Value::Array(understood)) if written.len() == understood.len() => {
            for (index, (written, understood)) in written.iter().zip(understood).enumerate() {
                check_kept(written, understood, &format!("{path}[{index}]"))?;
            }
        }
        _ => ensure!(written == understood, "{path}: {written} was understood as {understood}"),
    }
    Ok(())
}

#[test]
fn every_sample_is_read_without_loss() -> Result<()> {
    let mut names = BTreeMap::<String, Vec<String>>::new();
    for (file, path) in yaml_files(&workspace().join("deploy/samples"))? {
        let objects: Vec<Value> =
            serde_saphyr::from_multiple(&fs::read_to_string(&path)?).context(file.clone())?;
        for object in objects {
            ensure!(
                object["apiVersion"] == "tenantry.dev/v1alpha1",
                "{file}: unknown apiVersion {}",
                object["apiVersion"]
            );
            let kind = object["kind"].as_str().unwrap_or_default().to_owned();
            match kind.as_str() {
                "Tenant" => read_strictly::<Tenant>(&object),
                "Plan" => read_strictly::<Plan>(&object),
                "Release" => read_strictly::<Release>(&object),
                "Channel" => read_strictly::<Channel>(&object),
                "BackupStore" => read_strictly::<BackupStore>(&object),
                _ => bail!("{file}: unknown kind {kind:?}"),
            }
            .with_context(|| format!("{file}: {kind} {}", object["metadata"]["name"]))?;
            names
                .entry(kind)
                .or_default()
                .push(object["metadata"]["name"].as_str().unwrap_or_default().into());
        }
    }
    assert_eq!(names["Plan"], ["small", "standard", "business"]);
    assert_eq!(names["Tenant"], ["acme", "bluesky", "hangzhou"]);
    assert_eq!(names["Release"], ["0.1.0"]);
    assert_eq!(names["Channel"], ["stable"]);
    assert_eq!(names["BackupStore"], ["local", "offsite"]);
    Ok(())
}

#[test]
fn the_samples_fit_together() -> Result<()> {
    let mut objects = Vec::<Value>::new();
    for path in yaml_files(&workspace().join("deploy/samples"))?.values() {
        objects.extend(serde_saphyr::from_multiple::<Value>(&fs::read_to_string(path)?)?);
    }
    let has = |kind: &str, name: &Value| {
        objects.iter().any(|o| o["kind"] == kind && o["metadata"]["name"] == *name)
    };
    let of_kind = |kind: &'static str| objects.iter().filter(move |object| object["kind"] == kind);
    for tenant in of_kind("Tenant") {
        let spec = &tenant["spec"];
        assert!(has("Plan", &spec["plan"]), "no such plan: {tenant}");
        let follows = has("Release", &spec["release"]) || has("Channel", &spec["channel"]);
        assert!(follows, "no such release or channel: {tenant}");
    }
    for channel in of_kind("Channel") {
        assert!(has("Release", &channel["spec"]["release"]), "no such release: {channel}");
    }
    Ok(())
}

#[test]
fn the_check_finds_a_misspelt_field() {
    let written = serde_json::json!({
        "metadata": { "name": "acme" },
        "spec": {
            "displayName": "Acme", "admin": { "name": "A", "email": "a@b.example", "mail": "?" }, "plan": "p", "release": "r",
        },
    });
    let error = read_strictly::<Tenant>(&written).unwrap_err().to_string();
    assert_eq!(error, ".spec.admin.mail is not a field");
}

/// A rule about a metric that nobody exports never fires.
#[test]
fn the_alert_rules_speak_of_metrics_that_exist() -> Result<()> {
    let read = |path: &str| {
        fs::read_to_string(workspace().join(path)).with_context(|| format!("cannot read {path}"))
    };
    let rules = read("deploy/monitoring/rules.yaml")?;
    let operator = read("operator/src/process/metrics.rs")?;
    let gateway = read("operator/src/gateway/metrics.rs")?;
    let store = read("operator/src/store/metrics.rs")?;
    let words = rules
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("tenantry_"));
    let mut names = 0;
    for word in words {
        let of = [("tenantry_gateway_", &gateway), ("tenantry_store_", &store), ("tenantry_", &operator)];
        let found = of.iter().find_map(|(start, source)| Some((word.strip_prefix(start)?, source)));
        let (name, source) = found.with_context(|| word.to_owned())?;
        let name =
            ["_count", "_sum", "_bucket"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(source.contains(&format!("\"{name}\"")), "no metric {word}");
        names += 1;
    }
    assert!(0 < names);
    Ok(())
}

/// The manual's table of reasons, word by word, against the operator's sources.
#[test]
fn the_manual_speaks_of_reasons_that_exist() -> Result<()> {
    let manual = fs::read_to_string(workspace().join("docs/operate.md"))?;
    let table = manual.split("## When Ready is not True").nth(1).and_then(|rest| rest.split("\n## ").next());
    let rows = table.context("the section is gone")?.lines().filter(|line| line.starts_with("| `"));
    let first_column: String = rows.filter_map(|row| row.split('|').nth(1)).collect();
    let reasons: Vec<_> = first_column.split('`').skip(1).step_by(2).collect();
    assert!(10 < reasons.len(), "{reasons:?}");
    let mut sources = String::new();
    for file in walkdir::WalkDir::new(workspace().join("operator/src")) {
        let file = file?;
        if file.path().extension().is_some_and(|extension| extension == "rs") {
            sources += &fs::read_to_string(file.path())?;
        }
    }
    let unknown: Vec<_> =
        reasons.iter().filter(|reason| !sources.contains(&format!("\"{reason}\""))).collect();
    assert!(unknown.is_empty(), "the operator never says {unknown:?}");
    Ok(())
}

/// The chart carries a copy, because Helm reads only what lies beneath the chart. `UPDATE=1` renews it.
#[test]
fn the_chart_carries_the_current_crds() -> Result<()> {
    let ours = yaml_files(&workspace().join("crds"))?;
    let folder = workspace().join("charts/tenantry/files/crds");
    if std::env::var_os("UPDATE").is_some() {
        fs::remove_dir_all(&folder)?;
        fs::create_dir(&folder)?;
        for (name, path) in &ours {
            fs::copy(path, folder.join(name))?;
        }
    }
    let copies = yaml_files(&folder)?;
    let hint = "the chart's CRDs are not those of crds/; run UPDATE=1 cargo test -p e2e --test samples";
    assert_eq!(ours.keys().collect::<Vec<_>>(), copies.keys().collect::<Vec<_>>(), "{hint}");
    for (name, path) in &ours {
        assert!(fs::read(path)? == fs::read(&copies[name])?, "{hint}: {name}");
    }
    Ok(())
}
