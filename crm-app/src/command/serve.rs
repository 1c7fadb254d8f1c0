//! `crm-app serve`: listens at once, is ready when the database is, ends in order; at once when it is told to a second time.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::{Router, middleware::from_fn_with_state};
use tokio::{net::TcpListener, sync::watch};

use super::{housekeeping, stop};
use crate::{
    app::{self, App},
    args,
    auth::password::Passwords,
    backup::Programs,
    clock::Clock,
    db::{self, Login},
    entitlement,
    exchange::download::{Origin, PATIENCE, Source},
    health::{self, NotReady},
    leaving::{self, LINGER, Leaving},
    metrics::Metrics,
};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Requests that are under way may end; then the process ends.
const LONGEST_GOODBYE: Duration = Duration::from_secs(20);

/// Serves until SIGTERM or SIGINT.
pub async fn run(args: args::Serve) -> anyhow::Result<()> {
    #[cfg(feature = "test-releases")]
    crate::test_release::start()?;
    let files = [args.entitlement_config, args.entitlement_annotation];
    let origin = origin(args.tenant, args.image);
    let login = Login::read(&args.database).await.with_context(|| {
        format!(
            "the database password cannot be read from {}",
            args.database.database_password_file.display()
        )
    })?;
    let (new_login, login) = watch::channel(login);
    let options = login.borrow().options();
    let app = App {
        db: db::pool(options, args.database_connections),
        entitlement: entitlement::watch(files).await,
        clock: Clock::system(),
        passwords: Arc::new(Passwords::default()),
        public_url: Arc::new(args.public_url),
        exit: Source { login, origin, programs: Programs::default(), patience: PATIENCE },
        metrics: Metrics::new()?,
    };
    let (stop, stopping) = watch::channel(());
    let leaving = Leaving::default();
    let (management, application) = (listen(args.management_listen).await?, listen(args.listen).await?);
    tracing::info!(
        application = %application.local_addr()?,
        management = %management.local_addr()?,
        "serve.listening"
    );
    let management = answer(management, health::router(app.clone(), leaving.clone()), stopping.clone());
    let router = app::router(app.clone()).layer(from_fn_with_state(leaving.clone(), leaving::last_answers));
    let application = answer(application, router, stopping);
    let waiting = tokio::spawn(wait_until_ready(app.clone()));
    let sweeping = tokio::spawn(housekeeping::run(app.clone()));
    let following = tokio::spawn(db::follow_password(app.db.clone(), new_login, args.database));

    stop::told().await?;
    tracing::info!("serve.stopping");
    leaving.begin();
    tokio::select! {
        () = tokio::time::sleep(LINGER) => {}
        told = stop::told() => told?,
    }
    waiting.abort();
    sweeping.abort();
    following.abort();
    drop(stop);
    let ended = tokio::time::timeout(LONGEST_GOODBYE, async { (application.await, management.await) }).await;
    if ended.is_err() {
        tracing::warn!("serve.requests_cut_off");
    }
    app.db.close().await;
    Ok(())
}

/// What exit bundles say of where they come from. Either both were given or neither.
fn origin(tenant: Option<String>, image: Option<String>) -> Option<Origin> {
    let origin = tenant.zip(image).map(|(tenant, image)| Origin { tenant, image });
    if origin.is_none() {
        tracing::info!("serve.no_exit_bundles: --tenant and --image were not given");
    }
    origin
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}

/// Answers in a task of its own until `stopping` ends.
pub(super) fn answer(
    listener: TcpListener,
    router: Router,
    mut stopping: watch::Receiver<()>,
) -> tokio::task::JoinHandle<()> {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let server = axum::serve(listener, service).with_graceful_shutdown(async move {
        // The sender is only ever dropped.
        _ = stopping.changed().await;
    });
    tokio::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(%error, "serve.failed");
        }
    })
}

/// Only for the log and for a warm pool: `/readyz` looks for itself.
async fn wait_until_ready(app: App) {
    let mut pause = FIRST_PAUSE;
    let mut last: Option<NotReady> = None;
    loop {
        match health::check(&app).await {
            Ok(()) => break tracing::info!("serve.ready"),
            Err(reason) if last.as_ref() != Some(&reason) => {
                tracing::info!(%reason, "serve.waits");
                last = Some(reason);
            }
            Err(_) => {}
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
