//! One wave after the other, each with somebody's word if it needs it, and back.

use anyhow::Result;
use operator::api::Tenant;
use serde_json::json;

use super::{all_run, approve, change, count, fleet, of_channel, says, told, until, with_approval};

#[tokio::test(flavor = "multi_thread")]
async fn a_release_goes_through_the_waves_and_back() -> Result<()> {
    let lab = fleet(with_approval()).await?;
    change(&lab, json!({"release": "r2"})).await?;
    let tenants = until(&lab, "the second wave to wait for a word", |channel, _| {
        says(channel, "Progressing") == ("False".into(), "AwaitingApproval".into())
    })
    .await?;
    assert_eq!((count(&tenants, "r2"), count(&tenants, "r1")), (1, 5));
    // A word for another release, or another wave, is none.
    for other in [approve("all", "r1"), approve("canary", "r2")] {
        change(&lab, other).await?;
        let tenants = until(&lab, "the channel to have read it", |channel, _| {
            says(channel, "Progressing") == ("False".into(), "AwaitingApproval".into())
        })
        .await?;
        assert_eq!(told(&tenants, "r2"), 1);
    }
    // One that comes now begins with what has gone through all waves. By its name it is not a canary.
    lab.create::<Tenant>(of_channel("t7")).await?;
    lab.until_ready("t7").await?;
    let tenants = until(&lab, "the new tenant to run", |_, tenants| tenants.len() == 7).await?;
    assert_eq!(count(&tenants, "r1"), 6);

    change(&lab, approve("all", "r2")).await?;
    until(&lab, "all to run r2", all_run(7, "r2")).await?;
    change(&lab, json!({"release": "r1", "rollout": {"approvals": null, "waves": null}})).await?;
    until(&lab, "all to run r1 again", all_run(7, "r1")).await?;
    lab.operator.stop().await
}
