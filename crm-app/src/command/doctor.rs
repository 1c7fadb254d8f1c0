//! `crm-app doctor`: looks for what must never be, and changes nothing.

use serde::Serialize;
use sqlx::PgPool;

use crate::{
    args,
    db::{self, audit::Verdict, grants, schema},
};

/// One thing that was looked at.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Examined {
    /// What.
    pub check: &'static str,
    /// What is wrong with it; nothing when it is well.
    pub findings: Vec<String>,
}

/// Prints one JSON line per check. `true` when nothing was found.
pub async fn run(args: args::Doctor) -> anyhow::Result<bool> {
    let options = db::connect_options(&args.database).await?;
    let examined = examine(&db::unhurried_pool(options)).await?;
    for one in &examined {
        println!("{}", serde_json::to_string(one)?);
    }
    Ok(examined.iter().all(|one| one.findings.is_empty()))
}

/// Looks at everything.
pub async fn examine(pool: &PgPool) -> Result<Vec<Examined>, sqlx::Error> {
    let mut db = pool.acquire().await?;
    let needed = schema::needed();
    let schema_findings = match schema::current(&mut db).await? {
        Some(current) if needed <= current => Vec::new(),
        current => {
            let finding = format!("the schema is at {}, needed is {needed}", current.unwrap_or_default());
            // Nothing else can be looked at.
            return Ok(vec![Examined { check: "schema", findings: vec![finding] }]);
        }
    };
    let chain_findings = match db::audit::verify(&mut db).await? {
        Verdict::Whole(_) => Vec::new(),
        Verdict::BrokenAt(id) => vec![format!("the audit chain is broken at entry {id}")],
    };
    let stale = db::company_list::stale_index_entries(&mut db).await?;
    let search_findings =
        stale.iter().map(|id| format!("the search index of company {id} is stale")).collect();
    Ok(vec![
        Examined { check: "schema", findings: schema_findings },
        Examined { check: "grants", findings: grants::findings(&mut db).await? },
        Examined { check: "audit-chain", findings: chain_findings },
        Examined { check: "search-index", findings: search_findings },
    ])
}
