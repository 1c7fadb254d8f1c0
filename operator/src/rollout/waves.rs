//! Which wave of a rollout a tenant belongs to. Pure.
//!
//! A wave with labels takes the tenants that have them. The others stand in an order that is fixed by a hash of the channel's
//! name and theirs, and a wave with a percentage takes the next part of it. So nobody is in two waves or in none, and a tenant that
//! comes or goes moves at most one other from each wave into its neighbour.

use std::collections::BTreeMap;

use kube::core::{ParseExpressionError, Selector, SelectorExt as _};
use sha2::{Digest as _, Sha256};

use crate::{
    api::{Rollout, Wave, WaveApproval},
    names::REST_WAVE,
};

/// The labels of each tenant, by its name.
pub type Fleet<'a> = BTreeMap<&'a str, &'a BTreeMap<String, String>>;

/// The waves of a rollout, in their order; the last one takes what is left.
#[derive(Debug)]
pub struct Waves {
    channel: String,
    waves: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    name: String,
    approval: WaveApproval,
    takes: Takes,
}

#[derive(Debug)]
enum Takes {
    Labelled(Selector),
    Percent(usize),
    Rest,
}

/// Labels that mean nothing.
#[derive(Debug, thiserror::Error)]
#[error("spec.rollout.waves: the labels of the wave {wave:?} cannot be used: {source}")]
pub struct InvalidLabels {
    wave: String,
    source: ParseExpressionError,
}

impl Waves {
    /// The waves of a channel.
    pub fn of(channel: &str, rollout: &Rollout) -> Result<Self, InvalidLabels> {
        let mut waves = rollout.waves.iter().map(Part::of).collect::<Result<Vec<_>, _>>()?;
        if !waves.last().is_some_and(|last| matches!(last.takes, Takes::Rest)) {
            waves.push(Part {
                name: REST_WAVE.to_owned(),
                approval: WaveApproval::NotNeeded,
                takes: Takes::Rest,
            });
        }
        Ok(Self { channel: channel.to_owned(), waves })
    }

    /// How many there are; at least one.
    pub fn count(&self) -> usize {
        self.waves.len()
    }

    /// Name of the wave of that number, counted from 0.
    pub fn name(&self, wave: usize) -> &str {
        self.waves.get(wave).map_or(REST_WAVE, |part| part.name.as_str())
    }

    /// Whether somebody has to let that wave begin.
    pub fn needs_approval(&self, wave: usize) -> bool {
        self.waves.get(wave).is_some_and(|part| part.approval == WaveApproval::Required)
    }

    /// The number of each tenant's wave, counted from 0.
    pub fn assign<'a>(&self, fleet: &Fleet<'a>) -> BTreeMap<&'a str, usize> {
        let (mut assigned, mut others) = (BTreeMap::new(), Vec::new());
        for (name, labels) in fleet {
            match self.waves.iter().position(|part| part.chooses(labels)) {
                Some(wave) => drop(assigned.insert(*name, wave)),
                None => others.push(*name),
            }
        }
        others.sort_by_cached_key(|name| (self.place(name), *name));
        let mut others = others.into_iter();
        for (wave, until) in self.boundaries(others.len()) {
            let takes = others.len().saturating_sub(until);
            assigned.extend(others.by_ref().take(takes).map(|name| (name, wave)));
        }
        assigned
    }

    /// For each wave that chooses nobody by labels: how many of the others are left after it.
    fn boundaries(&self, others: usize) -> Vec<(usize, usize)> {
        let (mut percent, mut taken) = (0, 0);
        let mut boundaries = Vec::new();
        for (wave, part) in self.waves.iter().enumerate() {
            match part.takes {
                Takes::Labelled(_) => continue,
                Takes::Percent(more) => {
                    percent += more;
                    // A wave without anybody would let a release pass that nobody has tried.
                    taken = (others * percent / 100).max(taken + 1).min(others);
                }
                Takes::Rest => taken = others,
            }
            boundaries.push((wave, others - taken));
        }
        boundaries
    }

    /// Where a tenant stands among those that no labels choose.
    fn place(&self, tenant: &str) -> [u8; 8] {
        let hash =
            Sha256::new().chain_update(&self.channel).chain_update([0]).chain_update(tenant).finalize();
        let mut place = [0; 8];
        place.copy_from_slice(&hash[..8]);
        place
    }
}

impl Part {
    fn of(wave: &Wave) -> Result<Self, InvalidLabels> {
        let takes = match (&wave.tenants, wave.percent) {
            (Some(labels), _) => Takes::Labelled(
                labels
                    .clone()
                    .try_into()
                    .map_err(|source| InvalidLabels { wave: wave.name.clone(), source })?,
            ),
            (None, Some(percent)) => Takes::Percent(usize::try_from(percent).unwrap_or_default()),
            (None, None) => Takes::Rest,
        };
        Ok(Self { name: wave.name.clone(), approval: wave.approval, takes })
    }

    fn chooses(&self, labels: &BTreeMap<String, String>) -> bool {
        matches!(&self.takes, Takes::Labelled(selector) if selector.matches(labels))
    }
}

#[cfg(test)]
mod tests;
