//! The Ingress, for clusters that have an ingress controller.

use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend,
    IngressSpec, IngressTLS, ServiceBackendPort,
};

use super::common::{CRM_SERVICE_PORT, route_meta};
use crate::{
    args::{RunArgs, Scheme},
    names::{Host, child},
    tenant::validate::ValidTenant,
};

/// One Ingress with a rule for each host; none without hosts, since an Ingress must lead somewhere.
pub(super) fn ingress(tenant: &ValidTenant, granted: &[Host], settings: &RunArgs) -> Option<Ingress> {
    if granted.is_empty() {
        return None;
    }
    let tls = match settings.public_scheme {
        Scheme::Http => None,
        Scheme::Https => Some(tls(tenant, granted, settings.routing.ingress_tls_secret.as_ref())),
    };
    Some(Ingress {
        metadata: route_meta(tenant, child::CRM, &settings.routing),
        spec: Some(IngressSpec {
            ingress_class_name: settings.routing.ingress_class.clone(),
            rules: Some(granted.iter().map(rule).collect()),
            tls,
            ..IngressSpec::default()
        }),
        status: None,
    })
}

fn rule(host: &Host) -> IngressRule {
    let service = IngressServiceBackend {
        name: child::CRM.to_owned(),
        port: Some(ServiceBackendPort { number: Some(CRM_SERVICE_PORT), name: None }),
    };
    IngressRule {
        host: Some(host.to_string()),
        http: Some(HTTPIngressRuleValue {
            paths: vec![HTTPIngressPath {
                path: Some("/".to_owned()),
                path_type: "Prefix".to_owned(),
                backend: IngressBackend { service: Some(service), resource: None },
            }],
        }),
    }
}

/// One entry for each Secret; hosts without any are served by the controller's own certificate, such as a wildcard.
fn tls(tenant: &ValidTenant, granted: &[Host], otherwise: Option<&String>) -> Vec<IngressTLS> {
    let mut entries: Vec<IngressTLS> = Vec::new();
    for host in granted {
        let secret = tenant.tls_secrets.get(host).or(otherwise);
        if let Some(entry) = entries.iter_mut().find(|entry| entry.secret_name.as_ref() == secret) {
            entry.hosts.get_or_insert_default().push(host.to_string());
        } else {
            let hosts = Some(vec![host.to_string()]);
            entries.push(IngressTLS { hosts, secret_name: secret.cloned() });
        }
    }
    entries
}
