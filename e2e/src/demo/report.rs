//! What the demo says when it is up.

use std::time::Duration;

use anyhow::Result;
use operator::api::Tenant;

use crate::fleet::{Installed, sign_in_link};

/// Prints addresses, one-time sign-in links, and what to try next.
pub(super) async fn print(installed: &Installed, tenants: &[Tenant], took: Duration) -> Result<()> {
    println!("\n{:<10} {:<34} one-time sign-in link for the owner", "tenant", "address");
    for tenant in tenants {
        let name = tenant.metadata.name.as_deref().unwrap_or_default();
        println!("{name:<10} {:<34} {}", installed.address(name), sign_in_link(installed, name).await?);
        for host in &tenant.spec.hosts {
            println!("{:<10} http://{}:{}", "", host.name, installed.gateway.port());
        }
    }
    println!("{}", next_steps(installed));
    println!("The demo is up after {:.0} s.", took.as_secs_f64());
    Ok(())
}

fn next_steps(installed: &Installed) -> String {
    let release = &installed.release;
    format!(
        r#"
Try next:
  cargo e2e kubectl get tenants                       the fleet in one screen
  cargo e2e kubectl describe tenant acme              conditions and events
  cargo e2e kubectl patch tenant acme --type=merge -p '{{"spec":{{"state":"ReadOnly"}}}}'
                                                      and try to save something in acme's CRM
  cargo e2e kubectl delete tenant acme                refused: it says what to do if you mean it
  cargo e2e kubectl get release {release} -o yaml
  cargo e2e kubectl -n tenant-acme create job --from=cronjob/backup now
                                                      a backup at once; then get tenants again
  cargo demo --down                                   stop everything
"#
    )
}
