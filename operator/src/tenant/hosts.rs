//! Who may have which host. One ledger for the whole fleet, so that no host is ever given twice.
//!
//! The status of the tenants is the record: the ledger is read from it at start, and a host that a status once named stays
//! with that tenant until its spec drops it or it is gone. Names under the base domain belong to the tenant of that name.

use std::collections::{BTreeMap, BTreeSet};

use crate::names::{Host, RESERVED};

/// Who holds which host, and who waits for which.
#[derive(Debug)]
pub struct Ledger {
    base_domain: String,
    holders: BTreeMap<Host, String>,
    waiting: BTreeMap<Host, BTreeSet<String>>,
}

/// What a tenant gets of what it asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    /// The hosts that lead to it, in the order in which it asked.
    pub granted: Vec<Host>,
    /// What it does not get, each with the reason for people.
    pub refused: Vec<String>,
    /// Tenants that may now get a host that this one gave up.
    pub wake: Vec<String>,
}

impl Ledger {
    /// A ledger with what the tenants' statuses say: pairs of tenant and host.
    pub fn new(base_domain: &str, record: impl IntoIterator<Item = (String, Host)>) -> Self {
        let mut holders = BTreeMap::new();
        for (tenant, host) in record {
            holders.entry(host).or_insert(tenant);
        }
        Self { base_domain: base_domain.to_owned(), holders, waiting: BTreeMap::new() }
    }

    /// Grants a tenant what it wants and may have, and takes back what it no longer wants.
    pub fn settle(&mut self, tenant: &str, wanted: &[Host]) -> Settlement {
        let mut settlement = Settlement { wake: self.give_up(tenant, wanted), ..Settlement::default() };
        for host in wanted {
            if settlement.granted.contains(host) {
                continue;
            }
            match self.grant(tenant, host) {
                Ok(()) => settlement.granted.push(host.clone()),
                Err(refusal) => settlement.refused.push(refusal),
            }
        }
        settlement
    }

    /// Takes back everything from tenants that are gone; returns those who waited for it.
    pub fn retain(&mut self, present: &BTreeSet<String>) -> Vec<String> {
        let gone: BTreeSet<String> =
            self.holders.values().filter(|holder| !present.contains(*holder)).cloned().collect();
        gone.iter().flat_map(|tenant| self.give_up(tenant, &[])).collect()
    }

    fn grant(&mut self, tenant: &str, host: &Host) -> Result<(), String> {
        if let Some(label) = self.label_under_base(host) {
            if RESERVED.contains(&label) {
                return Err(format!("host {host} is reserved for the platform"));
            }
            if label != tenant {
                return Err(format!(
                    "host {host} cannot be had: names under {} belong to the tenant of that name",
                    self.base_domain
                ));
            }
        }
        let holder = self.holders.entry(host.clone()).or_insert_with(|| tenant.to_owned());
        if holder == tenant {
            return Ok(());
        }
        let refusal =
            format!("host {host} belongs to tenant {holder}: remove it there first, or from spec.hosts here");
        self.waiting.entry(host.clone()).or_default().insert(tenant.to_owned());
        Err(refusal)
    }

    fn give_up(&mut self, tenant: &str, still_wanted: &[Host]) -> Vec<String> {
        let dropped: Vec<Host> = self
            .holders
            .iter()
            .filter(|(host, holder)| *holder == tenant && !still_wanted.contains(host))
            .map(|(host, _)| host.clone())
            .collect();
        for waiters in self.waiting.values_mut() {
            waiters.remove(tenant);
        }
        let mut wake = BTreeSet::new();
        for host in dropped {
            self.holders.remove(&host);
            wake.extend(self.waiting.remove(&host).unwrap_or_default());
        }
        self.waiting.retain(|_, waiters| !waiters.is_empty());
        wake.into_iter().collect()
    }

    /// What stands before the base domain, if the host is under it; for the base domain itself, nothing.
    fn label_under_base<'a>(&self, host: &'a Host) -> Option<&'a str> {
        if host.as_str() == self.base_domain {
            return Some("");
        }
        host.as_str().strip_suffix(&self.base_domain)?.strip_suffix('.')
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn host(name: &str) -> Host {
        Host::parse(name).unwrap()
    }

    fn ledger() -> Ledger {
        Ledger::new("crm.localhost", [("acme".to_owned(), host("crm.acme.example"))])
    }

    #[test]
    fn what_was_granted_stays() {
        let mut ledger = ledger();
        let settlement = ledger.settle("other", &[host("other.crm.localhost"), host("crm.acme.example")]);
        assert_eq!(settlement.granted, [host("other.crm.localhost")]);
        assert!(settlement.refused[0].contains("belongs to tenant acme"), "{:?}", settlement.refused);
        let settlement = ledger.settle("acme", &[host("crm.acme.example")]);
        assert_eq!(settlement.granted, [host("crm.acme.example")]);
    }

    #[test]
    fn the_first_record_wins_when_two_name_the_same_host() {
        let record = [("b".to_owned(), host("x.example")), ("a".to_owned(), host("x.example"))];
        let mut ledger = Ledger::new("crm.localhost", record);
        assert_eq!(ledger.settle("b", &[host("x.example")]).granted.len(), 1);
        assert_eq!(ledger.settle("a", &[host("x.example")]).granted.len(), 0);
    }

    #[test]
    fn a_dropped_host_goes_to_who_waits_for_it() {
        let mut ledger = ledger();
        ledger.settle("other", &[host("crm.acme.example")]);
        assert_eq!(ledger.settle("acme", &[]).wake, ["other"]);
        assert_eq!(ledger.settle("other", &[host("crm.acme.example")]).granted.len(), 1);
        ledger.settle("acme", &[host("crm.acme.example")]);
        assert_eq!(ledger.retain(&BTreeSet::from(["acme".to_owned()])), ["acme"]);
    }

    #[rstest]
    #[case("acme.crm.localhost", true)]
    #[case("other.crm.localhost", false)]
    #[case("a.acme.crm.localhost", false)]
    #[case("crm.localhost", false)]
    #[case("www.crm.localhost", false)]
    #[case("notcrm.localhost", true)]
    fn names_under_the_base_domain_are_not_for_everybody(#[case] name: &str, #[case] granted: bool) {
        let settlement = ledger().settle("acme", &[host(name)]);
        assert_eq!(settlement.granted.len(), usize::from(granted), "{:?}", settlement.refused);
    }
}
