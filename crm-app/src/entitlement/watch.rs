//! Follows the two files.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _, event::AccessKind};
use tokio::sync::{mpsc, watch};

use super::{Entitlement, choose};

/// Files are read again this often even if the kernel reports nothing (some file systems do not).
const POLL: Duration = Duration::from_secs(5);

/// The entitlement that holds now. Cheap to clone.
pub type Watched = watch::Receiver<Entitlement>;

/// Reads both files once; what cannot be read counts as not there.
pub async fn read(files: &[PathBuf; 2]) -> [Option<Entitlement>; 2] {
    [read_one(&files[0]).await, read_one(&files[1]).await]
}

async fn read_one(file: &PathBuf) -> Option<Entitlement> {
    let text = match tokio::fs::read_to_string(file).await {
        Ok(text) => text,
        Err(error) => {
            tracing::debug!(file = %file.display(), %error, "entitlement.unreadable");
            return None;
        }
    };
    Entitlement::parse(&text).unwrap_or_else(|error| {
        tracing::warn!(file = %file.display(), %error, "entitlement.malformed");
        None
    })
}

/// Reads the files, then follows them for as long as the process lives.
pub async fn watch(files: [PathBuf; 2]) -> Watched {
    let nothing = Entitlement::none();
    let first = choose(&nothing, read(&files).await).unwrap_or(nothing);
    log(&first);
    let (sender, receiver) = watch::channel(first);
    tokio::spawn(follow(files, sender));
    receiver
}

async fn follow(files: [PathBuf; 2], sender: watch::Sender<Entitlement>) {
    let (tell, mut told) = mpsc::channel(1);
    // Kept alive: dropping the watcher ends the watch.
    let _watcher = watch_folders(&files, tell)
        .inspect_err(|error| tracing::warn!(%error, "entitlement.not_watched: polling only"))
        .ok();
    loop {
        // Either way the files are read again; a closed channel must not turn this into a busy loop.
        if let Ok(None) = tokio::time::timeout(POLL, told.recv()).await {
            tokio::time::sleep(POLL).await;
        }
        let read = read(&files).await;
        let newer = choose(&sender.borrow(), read);
        if let Some(newer) = newer {
            log(&newer);
            sender.send_replace(newer);
        }
    }
}

/// Watches the folders, not the files: kubelet swaps a symbolic link beside them.
fn watch_folders(files: &[PathBuf], tell: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Our own reading opens the files and must not be a reason to read them again.
        let only_opened = event.is_ok_and(|e| matches!(e.kind, EventKind::Access(AccessKind::Open(_))));
        if !only_opened {
            // A full channel already holds a reason to look.
            _ = tell.try_send(());
        }
    })?;
    let folders: BTreeSet<_> = files.iter().filter_map(|file| file.parent()).collect();
    for folder in folders {
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

fn log(entitlement: &Entitlement) {
    tracing::info!(
        revision = entitlement.revision,
        state = ?entitlement.state,
        seats = entitlement.seats,
        "entitlement.obeyed"
    );
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::entitlement::State;

    fn document(revision: u64, state: &str) -> String {
        format!(
            r#"{{"revision":{revision},"state":"{state}","seats":3,"profile":{{"displayName":"Acme","locale":"en","timeZone":"UTC","currency":"EUR"}}}}"#
        )
    }

    async fn holds(watched: &mut Watched, revision: u64) -> Entitlement {
        let wanted = watched.wait_for(|entitlement| entitlement.revision == revision);
        tokio::time::timeout(Duration::from_secs(30), wanted)
            .await
            .unwrap_or_else(|_| panic!("revision {revision} was not obeyed within 30 s"))
            .unwrap()
            .clone()
    }

    #[tokio::test]
    async fn a_change_of_either_file_is_obeyed_and_damage_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let files = [folder.path().join("config.json"), folder.path().join("annotation.json")];
        let mut watched = watch(files.clone()).await;
        assert_eq!(watched.borrow().state, State::ReadOnly, "nothing there yet");

        fs::write(&files[1], "").unwrap();
        fs::write(&files[0], document(1, "Active")).unwrap();
        assert_eq!(holds(&mut watched, 1).await.state, State::Active);

        // As kubelet does it: a new file takes the place of the old one at once.
        let next = folder.path().join("next");
        fs::write(&next, document(2, "ReadOnly")).unwrap();
        fs::rename(&next, &files[1]).unwrap();
        assert_eq!(holds(&mut watched, 2).await.state, State::ReadOnly);

        fs::write(&files[1], "{").unwrap();
        fs::remove_file(&files[0]).unwrap();
        assert_eq!(read(&files).await, [None, None]);
        assert_eq!(watched.borrow().revision, 2, "the last good one stays");

        fs::write(&files[0], document(3, "Active")).unwrap();
        assert_eq!(holds(&mut watched, 3).await.state, State::Active);
    }
}
