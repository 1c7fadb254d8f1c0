//! How requests reach the tenants: through our gateway, or through a controller that is there already.

use std::str::FromStr;

use clap::{Args, ValueEnum};

/// How requests reach the tenants.
#[derive(Clone, Debug, Args)]
pub struct RoutingArgs {
    /// How requests reach the tenants.
    #[arg(id = "routing", long = "routing", env = "TENANTRY_ROUTING", value_enum, ignore_case = true, default_value_t = Routing::Builtin)]
    pub kind: Routing,
    /// Kind of routes that an earlier setting made; what is left of them is removed. Repeatable.
    #[arg(
        long = "former-routing",
        env = "TENANTRY_FORMER_ROUTING",
        value_enum,
        ignore_case = true,
        value_delimiter = ','
    )]
    pub former: Vec<Routing>,
    /// Namespace of the pods that carry requests to the tenants, unless our gateway does.
    #[arg(
        long,
        env = "TENANTRY_CONTROLLER_NAMESPACE",
        required_if_eq_any([("routing", "Ingress"), ("routing", "HTTPRoute")])
    )]
    pub controller_namespace: Option<String>,
    /// Class of the Ingresses; without it they go to the cluster's default class.
    #[arg(long, env = "TENANTRY_INGRESS_CLASS")]
    pub ingress_class: Option<String>,
    /// TLS Secret in each tenant's namespace for the hosts that name none; without it the controller's own certificate
    /// serves them.
    #[arg(long, env = "TENANTRY_INGRESS_TLS_SECRET")]
    pub ingress_tls_secret: Option<String>,
    /// Gateway to which HTTPRoutes attach: NAMESPACE/NAME or NAMESPACE/NAME/LISTENER. Repeatable.
    #[arg(
        long = "route-parent",
        env = "TENANTRY_ROUTE_PARENT",
        value_delimiter = ',',
        required_if_eq("routing", "HTTPRoute")
    )]
    pub parents: Vec<ParentGateway>,
    /// Annotation of every Ingress or HTTPRoute: KEY=VALUE. Repeatable.
    #[arg(long = "route-annotation", value_parser = annotation)]
    pub annotations: Vec<(String, String)>,
}

impl RoutingArgs {
    /// Whether objects of that kind are ours to make or to remove.
    pub fn concerns(&self, kind: Routing) -> bool {
        self.kind == kind || self.former.contains(&kind)
    }
}

/// How requests reach the tenants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Routing {
    /// By `operator gateway`, from one route table.
    #[value(name = "Builtin")]
    Builtin,
    /// By an ingress controller, from an Ingress in each tenant's namespace.
    #[value(name = "Ingress")]
    Ingress,
    /// By an implementation of the Gateway API, from an HTTPRoute in each tenant's namespace.
    #[value(name = "HTTPRoute")]
    HttpRoute,
}

/// A Gateway to which HTTPRoutes attach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentGateway {
    /// Namespace of the Gateway.
    pub namespace: String,
    /// Name of the Gateway.
    pub name: String,
    /// The one of its listeners that is meant; without it, all that allow the route.
    pub listener: Option<String>,
}

impl FromStr for ParentGateway {
    type Err = &'static str;

    fn from_str(raw: &str) -> Result<Self, Self::Err> {
        let words: Vec<&str> = raw.split('/').collect();
        let (namespace, name, listener) = match words[..] {
            [namespace, name] => (namespace, name, None),
            [namespace, name, listener] => (namespace, name, Some(listener)),
            _ => return Err("write NAMESPACE/NAME or NAMESPACE/NAME/LISTENER"),
        };
        if words.contains(&"") {
            return Err("namespace, name and listener must not be empty");
        }
        Ok(Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            listener: listener.map(str::to_owned),
        })
    }
}

fn annotation(raw: &str) -> Result<(String, String), &'static str> {
    match raw.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use rstest::rstest;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        routing: RoutingArgs,
    }

    fn parse(words: &str) -> Result<RoutingArgs, String> {
        let words = std::iter::once("operator").chain(words.split_whitespace());
        Line::try_parse_from(words).map(|line| line.routing).map_err(|error| error.to_string())
    }

    #[test]
    fn everything_can_be_said() {
        let routing = parse(
            "--routing=HTTPRoute --former-routing=Ingress --controller-namespace=edge --route-parent=infra/public/https \
             --route-parent=infra/inner --route-annotation=a/b=c=d --route-annotation=empty=",
        )
        .unwrap();
        assert!(routing.concerns(Routing::HttpRoute) && routing.concerns(Routing::Ingress));
        assert!(!routing.concerns(Routing::Builtin));
        let parent = |name: &str, listener: Option<&str>| ParentGateway {
            namespace: "infra".into(),
            name: name.into(),
            listener: listener.map(Into::into),
        };
        assert_eq!(routing.parents, [parent("public", Some("https")), parent("inner", None)]);
        assert_eq!(routing.annotations, [("a/b".into(), "c=d".into()), ("empty".into(), String::new())]);
    }

    #[rstest]
    #[case("--routing=Ingress", "--controller-namespace")]
    #[case("--routing=ingress", "--controller-namespace")]
    #[case("--routing=HTTPRoute --controller-namespace=edge", "--route-parent")]
    #[case("--routing=Traefik", "Builtin, Ingress, HTTPRoute")]
    #[case("--route-parent=public", "NAMESPACE/NAME")]
    #[case("--route-parent=a/b/c/d", "NAMESPACE/NAME")]
    #[case("--route-parent=infra/", "must not be empty")]
    #[case("--route-annotation==x", "KEY=VALUE")]
    #[case("--route-annotation=x", "KEY=VALUE")]
    fn what_cannot_work_is_refused_with_the_reason(#[case] words: &str, #[case] reason: &str) {
        let error = parse(words).unwrap_err();
        assert!(error.contains(reason), "{words}: {error}");
    }
}
