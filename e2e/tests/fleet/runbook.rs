//! Somebody at a shell who follows a runbook word by word.

use std::{env::join_paths, ffi::OsString, fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use e2e::{
    fleet::Installed,
    host::command,
    toolchain::{self, Tool},
};
use tempfile::TempDir;
use tokio::process::Command;

/// How a line begins that the platform's staff types; `> ` continues it.
pub(crate) const STAFF: &str = "$ ";
/// How a line begins that the customer types.
pub(crate) const CUSTOMER: &str = "customer$ ";
/// The part of a runbook before its first heading.
pub(crate) const OPENING: &str = "";
/// The longest that a part of a runbook may take.
const DONE: Duration = Duration::from_mins(5);

/// Somebody at a shell, with the tools that the runbooks use.
pub(crate) struct Shell {
    /// Where the commands run.
    pub(crate) folder: TempDir,
    /// Where programs are looked for.
    pub(crate) path: OsString,
    kubeconfig: PathBuf,
    runbook: String,
}

impl Shell {
    /// Opens a shell and `docs/runbooks/<name>.md`, in which the words of the example are replaced by those of the case.
    pub(crate) async fn open(fleet: &Installed, name: &str, case: &[(&str, &str)]) -> Result<Self> {
        toolchain::debian_packages(&["age", "curl", "jq", "unzip"]).await?;
        let kubectl = toolchain::binary(Tool::Kubectl).await?;
        let folders =
            kubectl.parent().map(PathBuf::from).into_iter().chain(["/usr/bin".into(), "/bin".into()]);
        let file = toolchain::workspace().join("docs/runbooks").join(format!("{name}.md"));
        let mut runbook = fs::read_to_string(file)?;
        for (example, word) in case {
            ensure!(runbook.contains(example), "{name}.md does not say {example:?}");
            runbook = runbook.replace(example, word);
        }
        Ok(Self {
            folder: TempDir::new()?,
            path: join_paths(folders)?,
            kubeconfig: fleet.kubeconfig.clone(),
            runbook,
        })
    }

    /// Runs what somebody is to type in these sections one after the other, and stops at the first command that fails; returns
    /// what was printed.
    pub(crate) async fn follow(
        &self,
        prompt: &str,
        sections: &[&str],
        variables: &[(&str, String)],
    ) -> Result<String> {
        let mut script = Vec::new();
        for section in sections {
            script.extend(self.typed(prompt, section)?);
        }
        let mut shell = Command::new("bash");
        shell
            .args(["-euo", "pipefail", "-c", &script.join("\n")])
            .current_dir(self.folder.path())
            .env("PATH", &self.path)
            .env("KUBECONFIG", &self.kubeconfig)
            .envs(variables.iter().map(|(name, value)| (*name, value.as_str())));
        command::run(&mut shell, DONE).await
    }

    /// The lines that are typed at that prompt in a section.
    fn typed(&self, prompt: &str, heading: &str) -> Result<Vec<&str>> {
        let mut sections = self.runbook.split("\n## ");
        let section = match heading {
            OPENING => sections.next(),
            _ => sections.find(|section| section.starts_with(&format!("{heading}\n"))),
        };
        let section = section.with_context(|| format!("the runbook has no section {heading:?}"))?;
        let blocks = section.split("\n```console\n").skip(1).filter_map(|rest| rest.split("\n```").next());
        let typed: Vec<_> = blocks
            .flat_map(str::lines)
            .filter_map(|line| line.strip_prefix(prompt).or_else(|| line.strip_prefix("> ")))
            .collect();
        ensure!(!typed.is_empty(), "section {heading:?} has no commands");
        Ok(typed)
    }
}
