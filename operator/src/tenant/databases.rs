//! Which of a tenant's databases serves. Pure.
//!
//! A restore in place goes into a database of its own: generation 1 is `crm`, generation n is `crm_<n>`. Which one serves is
//! written on the Namespace, in one write together with everything that follows from it, and nowhere else decided. The
//! record is read as carefully as it is written: if it cannot be read, nothing is changed, and if it is missing, the Tenant's
//! status says what it was. To take a wrong database for the right one would be to bring back old data without a word.

use jiff::Timestamp;
use kube::ResourceExt;

use crate::{names, tenant::Error};

/// The restores that ended are remembered, so many of a tenant.
const REMEMBERED: usize = 50;

/// Which database serves, which others there may be, and which restores led there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Databases {
    /// Number of the one that serves.
    pub current: i64,
    /// Number of the first that a restore may go into. Not always the one after the present: of that name there may be one that
    /// was restored and never served.
    pub next: i64,
    /// Number of the oldest that may still be there.
    pub oldest: i64,
    /// When the present one began to serve, if there was one before it.
    pub switched_at: Option<Timestamp>,
    /// Restores that came to their end, the newest last.
    pub ended: Vec<EndedRestore>,
}

/// A restore that came to its end. It is never carried out again, whatever becomes of its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedRestore {
    /// Name of the request: one that is made again from a copy has another uid.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Number of the database that served since then; nothing when it failed.
    pub generation: Option<i64>,
}

/// What a Namespace says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Recorded {
    /// Nothing.
    #[default]
    Absent,
    /// Something that cannot be right.
    Unreadable,
    /// This.
    Known(Box<Databases>),
}

impl Default for Databases {
    fn default() -> Self {
        Self::serving(1)
    }
}

impl Databases {
    fn serving(current: i64) -> Self {
        Self { current, next: current + 1, oldest: current, switched_at: None, ended: Vec::new() }
    }

    /// What is known of a tenant's databases: what is recorded, what its status said, and which one its CRM works on.
    pub fn of(
        recorded: &Recorded,
        told: Option<i64>,
        used: Option<i64>,
        namespace: &str,
    ) -> Result<Self, Error> {
        let witnessed = told.max(used).unwrap_or(1).max(1);
        match recorded {
            // An older record has come back, and an older database with it, if nobody looks.
            Recorded::Known(known) if known.current < used.unwrap_or(1) => (),
            Recorded::Known(known) => return Ok((**known).clone()),
            Recorded::Absent => return Ok(Self::serving(witnessed)),
            Recorded::Unreadable => (),
        }
        Err(Error::DatabaseUnknown { namespace: namespace.to_owned(), witnessed })
    }

    /// Name of the database that serves.
    pub fn name(&self) -> String {
        name_of(self.current)
    }

    /// The restored one serves from now on.
    pub fn switch(&mut self, to: i64, restore: EndedRestore, now: Timestamp) {
        self.oldest = self.oldest.min(self.current);
        self.current = to;
        self.next = to + 1;
        self.switched_at = Timestamp::from_second(now.as_second()).ok();
        self.remember(restore);
    }

    /// A restore must never be carried out again.
    pub fn remember(&mut self, restore: EndedRestore) {
        if self.ended.iter().all(|known| known.uid != restore.uid) {
            self.ended.push(restore);
        }
        let surplus = self.ended.len().saturating_sub(REMEMBERED);
        self.ended.drain(..surplus);
    }

    /// What is to be written on the Namespace.
    pub fn annotations(&self) -> Vec<(&'static str, String)> {
        let ended: Vec<_> = self.ended.iter().map(EndedRestore::to_text).collect();
        let all = [
            (names::DATABASE_GENERATION, Some(self.current.to_string())),
            (names::NEXT_DATABASE, (self.next != self.current + 1).then(|| self.next.to_string())),
            (names::OLDEST_DATABASE, (self.oldest != self.current).then(|| self.oldest.to_string())),
            (names::SWITCHED_AT, self.switched_at.map(|at| at.to_string())),
            (names::RESTORES, (!ended.is_empty()).then(|| ended.join(","))),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

impl Recorded {
    /// Reads what was written; `annotation` gives the value of one.
    pub fn read(annotation: impl Fn(&str) -> Option<String>) -> Self {
        let all = [names::NEXT_DATABASE, names::OLDEST_DATABASE, names::SWITCHED_AT, names::RESTORES];
        let current = annotation(names::DATABASE_GENERATION);
        if current.is_none() && all.into_iter().all(|name| annotation(name).is_none()) {
            return Self::Absent;
        }
        let known = move || {
            let number = |text: &str| text.parse::<i64>().ok().filter(|number| 1 <= *number);
            let or = |name, default| annotation(name).map_or(Some(default), |text| number(&text));
            let current = number(&current?)?;
            let (next, oldest) =
                (or(names::NEXT_DATABASE, current + 1)?, or(names::OLDEST_DATABASE, current)?);
            let switched_at = match annotation(names::SWITCHED_AT) {
                Some(text) => Some(text.parse().ok()?),
                None => None,
            };
            let ended = match annotation(names::RESTORES) {
                Some(text) => text.split(',').map(EndedRestore::read).collect::<Option<_>>()?,
                None => Vec::new(),
            };
            let sound = oldest <= current && current < next;
            sound.then_some(Databases { current, next, oldest, switched_at, ended })
        };
        known().map_or(Self::Unreadable, |known| Self::Known(Box::new(known)))
    }
}

impl EndedRestore {
    /// Of a request.
    pub fn of(request: &impl ResourceExt, generation: Option<i64>) -> Self {
        Self { name: request.name_any(), uid: request.uid().unwrap_or_default(), generation }
    }

    fn to_text(&self) -> String {
        let generation = self.generation.map_or("failed".to_owned(), |generation| generation.to_string());
        format!("{}/{}/{generation}", self.name, self.uid)
    }

    fn read(text: &str) -> Option<Self> {
        let [name, uid, generation] = text.split('/').collect::<Vec<_>>().try_into().ok()?;
        let generation = match generation {
            "failed" => None,
            number => Some(number.parse().ok()?),
        };
        Some(Self { name: name.to_owned(), uid: uid.to_owned(), generation })
    }
}

/// Name of the database of that number.
pub fn name_of(generation: i64) -> String {
    if generation <= 1 { "crm".to_owned() } else { format!("crm_{generation}") }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rstest::rstest;

    use super::*;

    fn read(annotations: &[(&str, &str)]) -> Recorded {
        let annotations: BTreeMap<_, _> = annotations.iter().copied().collect();
        Recorded::read(|name| annotations.get(name).map(|text| (*text).to_owned()))
    }

    fn known(annotations: &[(&str, &str)]) -> Databases {
        Databases::of(&read(annotations), None, None, "tenant-acme").unwrap()
    }

    fn ended(name: &str, generation: Option<i64>) -> EndedRestore {
        EndedRestore { name: name.into(), uid: format!("uid-{name}"), generation }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        let mut databases = Databases::default();
        let mut all = vec![databases.clone()];
        databases.remember(ended("a", None));
        all.push(databases.clone());
        databases.next = 3;
        all.push(databases.clone());
        databases.switch(3, ended("b.c", Some(3)), at(5));
        all.push(databases.clone());
        databases.switch(4, ended("d", Some(4)), at(6));
        assert_eq!((databases.oldest, databases.current, databases.next), (1, 4, 5));
        all.push(databases);
        for databases in all {
            let written = databases.annotations();
            let written: Vec<_> = written.iter().map(|(name, text)| (*name, text.as_str())).collect();
            assert_eq!(known(&written), databases, "{written:?}");
        }
    }

    #[rstest]
    #[case(&[("tenantry.dev/database-generation", "two")])]
    #[case(&[("tenantry.dev/database-generation", "0")])]
    #[case(&[("tenantry.dev/database-generation", "")])]
    #[case(&[("tenantry.dev/database-generation", "2"), ("tenantry.dev/next-database-generation", "2")])]
    #[case(&[("tenantry.dev/database-generation", "2"), ("tenantry.dev/oldest-database-generation", "3")])]
    #[case(&[("tenantry.dev/database-generation", "2"), ("tenantry.dev/switched-at", "yesterday")])]
    #[case(&[("tenantry.dev/database-generation", "2"), ("tenantry.dev/restores", "a")])]
    #[case::a_part_was_taken_away(&[("tenantry.dev/restores", "r1/uid-r1/2")])]
    #[case::an_older_record_came_back(&[("tenantry.dev/database-generation", "1")])]
    fn what_cannot_be_read_is_not_guessed(#[case] annotations: &[(&str, &str)]) {
        let error = Databases::of(&read(annotations), Some(2), Some(2), "tenant-acme").unwrap_err();
        let message = error.message();
        let command = "kubectl annotate --overwrite namespace tenant-acme tenantry.dev/database-generation=2";
        assert!(message.contains(command), "{message}");
    }

    #[test]
    fn a_record_that_was_taken_away_is_what_the_status_said() {
        let of = |recorded: &Recorded, told, used| {
            Databases::of(recorded, told, used, "tenant-acme").unwrap().name()
        };
        assert_eq!(of(&Recorded::Absent, Some(2), None), "crm_2");
        assert_eq!(of(&Recorded::Absent, None, Some(3)), "crm_3", "the status was emptied as well");
        assert_eq!(of(&Recorded::Absent, None, None), "crm");
        assert_eq!(of(&read(&[("tenantry.dev/database-generation", "3")]), Some(2), Some(2)), "crm_3");
    }

    #[test]
    fn only_so_many_restores_are_remembered_and_each_once() {
        let mut databases = Databases::default();
        for number in 0..60 {
            databases.remember(ended(&number.to_string(), None));
            databases.remember(ended(&number.to_string(), Some(2)));
        }
        assert_eq!(databases.ended.len(), REMEMBERED);
        assert_eq!(databases.ended.last(), Some(&ended("59", None)), "what was written first stands");
    }
}
