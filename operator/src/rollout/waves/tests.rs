use proptest::prelude::*;
use serde_json::json;

use super::*;

fn waves(of: &serde_json::Value) -> Waves {
    let rollout = serde_json::from_value(json!({ "waves": of })).unwrap();
    Waves::of("stable", &rollout).unwrap()
}

fn canary() -> Waves {
    waves(&json!([
        {"name": "own", "tenants": {"matchLabels": {"tier": "own"}}},
        {"name": "canary", "percent": 5},
        {"name": "early", "percent": 20},
    ]))
}

/// How many are in each wave.
fn sizes(waves: &Waves, assigned: &BTreeMap<&str, usize>) -> Vec<usize> {
    (0..waves.count()).map(|wave| assigned.values().filter(|of| **of == wave).count()).collect()
}

/// So many tenants, of which the first ones have the label.
fn fleet(own: usize, others: usize) -> Vec<(String, BTreeMap<String, String>)> {
    let labels = |tier: &str| BTreeMap::from([("tier".to_owned(), tier.to_owned())]);
    let own = (0..own).map(|number| (format!("own-{number}"), labels("own")));
    own.chain((0..others).map(|number| (format!("t-{number}"), labels("other")))).collect()
}

fn named(fleet: &[(String, BTreeMap<String, String>)]) -> Fleet<'_> {
    fleet.iter().map(|(name, labels)| (name.as_str(), labels)).collect()
}

#[rstest::rstest]
#[case::thirty(2, 28, &[2, 1, 6, 21])]
#[case::hundred(0, 100, &[0, 5, 20, 75])]
#[case::nobody(0, 0, &[0, 0, 0, 0])]
#[case::one(0, 1, &[0, 1, 0, 0])]
#[case::two(0, 2, &[0, 1, 1, 0])]
#[case::only_own(3, 0, &[3, 0, 0, 0])]
fn so_many_are_in_each_wave(#[case] own: usize, #[case] others: usize, #[case] expected: &[usize]) {
    let (waves, fleet) = (canary(), fleet(own, others));
    assert_eq!(sizes(&waves, &waves.assign(&named(&fleet))), expected);
}

#[test]
fn without_waves_everyone_is_in_one() {
    let (waves, fleet) = (waves(&json!([])), fleet(1, 4));
    assert_eq!((waves.count(), waves.name(0)), (1, REST_WAVE));
    assert_eq!(sizes(&waves, &waves.assign(&named(&fleet))), [5]);
}

#[test]
fn the_last_wave_may_have_a_name_of_its_own() {
    let waves =
        waves(&json!([{"name": "canary", "percent": 10}, {"name": "everyone", "approval": "Required"}]));
    assert_eq!((waves.count(), waves.name(1), waves.needs_approval(1)), (2, "everyone", true));
}

#[test]
fn labels_that_mean_nothing_are_told() {
    let rollout = json!({"waves": [{"name": "a", "tenants": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}]});
    let error = Waves::of("stable", &serde_json::from_value(rollout).unwrap()).unwrap_err();
    assert!(error.to_string().contains("the wave \"a\""), "{error}");
}

#[test]
fn each_channel_has_another_order() {
    let of = json!({"waves": [{"name": "canary", "percent": 10}]});
    let first = |channel| {
        let (waves, fleet) =
            (Waves::of(channel, &serde_json::from_value(of.clone()).unwrap()).unwrap(), fleet(0, 100));
        let assigned = waves.assign(&named(&fleet));
        let first = assigned.iter().filter(|(_, wave)| **wave == 0).map(|(name, _)| (*name).to_owned());
        first.collect::<Vec<_>>()
    };
    assert_ne!(first("stable"), first("beta"), "the same customers would try every release of all channels");
}

proptest! {
    #[test]
    fn everybody_is_in_one_wave(own in 0_usize..20, others in 0_usize..300) {
        let (waves, fleet) = (canary(), fleet(own, others));
        let assigned = waves.assign(&named(&fleet));
        prop_assert_eq!(assigned.len(), own + others);
        prop_assert!(assigned.values().all(|wave| *wave < waves.count()));
    }

    #[test]
    fn one_that_comes_or_goes_moves_at_most_one_at_each_boundary(others in 1_usize..300, gone in 0_usize..300) {
        let (waves, fleet) = (canary(), fleet(3, others));
        let gone = format!("t-{}", gone % others);
        let all = named(&fleet);
        let before = waves.assign(&all);
        let left: Fleet<'_> = all.into_iter().filter(|(name, _)| *name != gone).collect();
        let after = waves.assign(&left);
        let moved = after.iter().filter(|(name, wave)| before[**name] != **wave).count();
        prop_assert!(moved <= 2, "{moved} moved");
        prop_assert!(after.iter().all(|(name, wave)| before[*name].abs_diff(*wave) <= 1));
    }

    #[test]
    fn a_canary_is_few_but_somebody(others in 1_usize..400) {
        let (waves, fleet) = (canary(), fleet(0, others));
        let canaries = sizes(&waves, &waves.assign(&named(&fleet)))[1];
        prop_assert!(canaries == (others * 5 / 100).max(1), "{canaries} of {others}");
    }
}
