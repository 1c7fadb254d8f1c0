//! The policies' expressions against the types of what they look at, as the API server itself checks them.

use std::time::Duration;

use anyhow::Result;
use e2e::host::wait::{Look, Wait};
use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::{Api, ResourceExt as _, api::ListParams};

use crate::lab::Lab;

#[tokio::test]
async fn the_policies_are_sound() -> Result<()> {
    let lab = Lab::start().await?;
    every_policy_is_bound_fails_closed_and_denies(&lab).await?;
    every_expression_fits_the_types_it_looks_at(&lab).await
}

async fn every_expression_fits_the_types_it_looks_at(lab: &Lab) -> Result<()> {
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(lab.client().await?);
    let checked = async || {
        let all = policies.list(&ListParams::default()).await?.items;
        let pending = all.iter().filter(|policy| {
            let observed = policy.status.as_ref().and_then(|status| status.observed_generation);
            observed != policy.metadata.generation
        });
        let pending: Vec<_> = pending.map(ValidatingAdmissionPolicy::name_any).collect();
        Ok(if pending.is_empty() {
            Look::Done(all)
        } else {
            Look::NotYet(format!("unchecked: {}", pending.join(", ")))
        })
    };
    let all = Wait::new("the policies to be type-checked", Duration::from_secs(30)).until(checked).await?;
    assert!(!all.is_empty());
    for policy in all {
        let warnings = policy.status.as_ref().and_then(|status| status.type_checking.as_ref());
        let warnings = warnings.and_then(|checking| checking.expression_warnings.as_ref());
        assert!(warnings.is_none_or(Vec::is_empty), "{}: {warnings:#?}", policy.name_any());
    }
    Ok(())
}

async fn every_policy_is_bound_fails_closed_and_denies(lab: &Lab) -> Result<()> {
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(lab.client().await?);
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(lab.client().await?);
    for policy in policies.list(&ListParams::default()).await?.items {
        let spec = policy.spec.clone().unwrap_or_default();
        assert_eq!(spec.failure_policy.as_deref(), Some("Fail"), "{}", policy.name_any());
        let binding = bindings.get(&policy.name_any()).await?.spec.unwrap_or_default();
        assert_eq!(binding.policy_name.as_deref(), Some(policy.name_any().as_str()));
        assert_eq!(binding.validation_actions, Some(vec!["Deny".to_owned()]));
        assert!(binding.match_resources.is_none() && binding.param_ref.is_none());
    }
    Ok(())
}
