//! Who says what of a Tenant's status: the tenant's own controller all but what its channel says.

use crate::api::{TenantStatus, conditions::UP_TO_DATE};

/// The part of a status that the tenant's own controller writes.
pub fn own(status: &TenantStatus) -> TenantStatus {
    let mut own =
        TenantStatus { target_release: None, target_wave: None, target_pod_settings: None, ..status.clone() };
    own.conditions.retain(|condition| condition.type_ != UP_TO_DATE);
    own
}

/// The whole status, when the part of the tenant's own controller becomes `own`.
pub fn joined(own: &TenantStatus, present: &TenantStatus) -> TenantStatus {
    let mut joined = TenantStatus {
        target_release: present.target_release.clone(),
        target_wave: present.target_wave.clone(),
        target_pod_settings: present.target_pod_settings.clone(),
        ..own.clone()
    };
    let said = present.conditions.iter().filter(|condition| condition.type_ == UP_TO_DATE);
    joined.conditions.extend(said.cloned());
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::conditions::{READY, Verdict, set_condition};

    #[test]
    fn what_the_channel_says_is_neither_taken_for_ones_own_nor_lost() {
        let mut status = TenantStatus {
            target_release: Some("r2".into()),
            target_pod_settings: Some("0a1b2c3d".into()),
            ..TenantStatus::default()
        };
        for type_ in [READY, UP_TO_DATE] {
            let verdict = Verdict::yes("AsExpected", "");
            set_condition(&mut status.conditions, type_, verdict, None, jiff::Timestamp::UNIX_EPOCH);
        }
        let own = own(&status);
        assert_eq!((&own.target_release, &own.target_pod_settings, own.conditions.len()), (&None, &None, 1));
        assert_eq!(joined(&own, &status), status);
    }
}
