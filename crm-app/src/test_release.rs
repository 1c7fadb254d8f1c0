//! Releases that only tests run: two that change the schema, and four that go wrong. Compiled with the feature `test-releases`, which is
//! off in products. One binary is all of them: which one it is stands in its image, in `CRM_TEST_RELEASE`.
//!
//! Each brings the migrations of `test-migrations` that [`TestRelease::brings`] names, after the product's. Their numbers leave room for
//! the product's to come.

use std::{
    borrow::Cow,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::Request,
    http::StatusCode,
    middleware::{Next, from_fn},
    response::{IntoResponse as _, Response},
};
use sqlx::{PgConnection, migrate::Migrator};
use uuid::Uuid;

/// As many requests `errors` answers before it fails: more than a rehearsal makes, fewer than a tenant at work does in a second.
pub const GOOD_ANSWERS: u32 = 20;
/// No request to `slow` is answered sooner.
pub const SLOWEST: Duration = Duration::from_millis(300);
/// And none takes less than so many times as long as it would.
const TIMES: u32 = 10;

const EXPANDS: i64 = 1001;
const CONTRACTS: i64 = 1002;
const MIGRATION_FAILS: i64 = 1003;

/// Which release this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum TestRelease {
    /// A good one, which adds a column that it writes; the product works on its schema.
    Expands,
    /// A good one, on whose schema no release from before can write companies.
    Contracts,
    /// Ends as soon as it is to serve.
    Crashes,
    /// Is ready, answers for a while, and then with 500 for ever. Probes are not told.
    Errors,
    /// Has a migration that does not work on all data.
    MigrationFails,
    /// Takes its time for each answer.
    Slow,
}

static RUNNING: OnceLock<TestRelease> = OnceLock::new();

/// Makes this process that release; without one it is the product. The first call counts.
pub fn begin(release: Option<TestRelease>) {
    if let Some(release) = release {
        RUNNING.get_or_init(|| release);
    }
}

fn is(releases: &[TestRelease]) -> bool {
    RUNNING.get().is_some_and(|running| releases.contains(running))
}

impl TestRelease {
    /// The numbers of its own migrations. All of them can follow `expands`.
    fn brings(self) -> &'static [i64] {
        match self {
            Self::Expands | Self::Crashes | Self::Errors | Self::Slow => &[EXPANDS],
            Self::Contracts => &[EXPANDS, CONTRACTS],
            Self::MigrationFails => &[EXPANDS, MIGRATION_FAILS],
        }
    }
}

/// The product's migrations and those of the release that this is.
pub fn migrator(mut product: Migrator) -> Migrator {
    let brings = RUNNING.get().map_or(&[][..], |release| release.brings());
    let more = sqlx::migrate!("./test-migrations");
    let more = more.iter().filter(|migration| brings.contains(&migration.version));
    product.migrations = Cow::Owned(product.iter().chain(more).cloned().collect());
    product
}

/// Fails when this is the release that ends as soon as it is to serve.
pub fn start() -> anyhow::Result<()> {
    anyhow::ensure!(!is(&[TestRelease::Crashes]), "this is the release that crashes");
    Ok(())
}

/// After a company was written, in the same transaction: fills in the column that the product does not know.
pub async fn company_written(db: &mut PgConnection, id: Uuid) -> Result<(), sqlx::Error> {
    let fill_in = if is(&[TestRelease::Contracts]) {
        "update crm.company set revision = version where id = $1"
    } else if RUNNING.get().is_some() {
        "update crm.company set edition = version where id = $1"
    } else {
        return Ok(());
    };
    sqlx::query(fill_in).bind(id).execute(db).await.map(drop)
}

/// Around the routes of the application, inside of what counts and measures them.
pub fn around<S: Clone + Send + Sync + 'static>(router: Router<S>) -> Router<S> {
    router.layer(from_fn(errors)).layer(from_fn(slow))
}

async fn errors(request: Request, next: Next) -> Response {
    static ANSWERED: AtomicU32 = AtomicU32::new(0);
    if is(&[TestRelease::Errors]) && GOOD_ANSWERS <= ANSWERED.fetch_add(1, Ordering::Relaxed) {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    next.run(request).await
}

async fn slow(request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let response = next.run(request).await;
    if is(&[TestRelease::Slow]) {
        let whole = SLOWEST.max(begun.elapsed() * TIMES);
        tokio::time::sleep(whole.saturating_sub(begun.elapsed())).await;
    }
    response
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn its_migrations_follow_the_products_and_each_is_of_some_release() {
        let product = sqlx::migrate!("./migrations");
        let last = product.iter().map(|migration| migration.version).max().unwrap();
        let there: Vec<i64> =
            sqlx::migrate!("./test-migrations").iter().map(|migration| migration.version).collect();
        assert!(there.iter().all(|version| last < *version), "{there:?} follow {last}");
        for version in there {
            let releases = TestRelease::value_variants().iter();
            assert_ne!(
                releases.filter(|release| release.brings().contains(&version)).count(),
                0,
                "{version}"
            );
        }
    }

    #[test]
    fn without_a_release_it_is_the_product() {
        let versions = |migrator: &Migrator| -> Vec<i64> {
            migrator.iter().map(|migration| migration.version).collect()
        };
        let product = sqlx::migrate!("./migrations");
        assert_eq!(versions(&migrator(sqlx::migrate!("./migrations"))), versions(&product));
    }
}
