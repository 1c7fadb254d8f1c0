use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::*;

/// `a`, `b` and `rest`; `b` needs somebody's word.
fn waves() -> Waves {
    let rollout = json!({"waves": [
        {"name": "a", "percent": 1}, {"name": "b", "percent": 1, "approval": "Required"},
    ]});
    Waves::of("stable", &serde_json::from_value(rollout).unwrap()).unwrap()
}

const NAMES: [&str; 6] = ["t0", "t1", "t2", "t3", "t4", "t5"];

/// Tenants by a letter for each stage, waves divided by `|`: `d` is done, `w` waits, `c` waits for its window, `B` is busy, `u` is being upgraded, `r` for another time, `b`
/// bakes, `f` failed, `-` is set aside.
fn members(text: &str) -> Vec<Member<'static>> {
    let mut names = NAMES.into_iter();
    let waves = text.split('|').enumerate();
    let letters = waves.flat_map(|(wave, letters)| letters.chars().map(move |letter| (wave, letter)));
    letters
        .map(|(wave, letter)| {
            let stage = match letter {
                'w' | 'c' => Stage::Waiting,
                'B' => Stage::Busy,
                'u' | 'r' => Stage::Upgrading,
                'b' => Stage::Baking,
                'd' => Stage::Done,
                'f' => Stage::Failed,
                _ => Stage::Aside,
            };
            let name = names.next().unwrap();
            let opens_at =
                (letter == 'c').then(|| Timestamp::from_second(i64::from(name.as_bytes()[1])).unwrap());
            Member { name, wave, stage, opens_at, retries: letter == 'r' }
        })
        .collect()
}

fn limits(parallel: usize, failures: usize) -> Limits<'static> {
    Limits { parallel, failures, paused: false, approved: BTreeSet::from(["b"]) }
}

#[rstest]
#[case::the_first_wave_alone("ww|ww|w", 5, 0, &["t0", "t1"], Some(0), None)]
#[case::not_more_than_may("ww|w|ww", 1, 0, &["t0"], Some(0), None)]
#[case::one_is_on_its_way("uw|w|ww", 1, 0, &[], Some(0), None)]
#[case::those_that_bake_are_not_counted("bw|w|ww", 1, 0, &["t1"], Some(0), None)]
#[case::nor_does_the_next_wave_begin_while_they_do("db|w|ww", 5, 0, &[], Some(0), None)]
#[case::the_next_wave("dd|w|ww", 5, 0, &["t2"], Some(1), None)]
#[case::whose_window_is_open("cw|w|ww", 1, 0, &["t1"], Some(0), None)]
#[case::and_the_wave_waits_for_the_others("cd|w|ww", 5, 0, &[], Some(0), None)]
#[case::one_on_its_way_to_something_else_goes_first("dd|wB|ww", 1, 0, &["t3"], Some(1), None)]
#[case::and_takes_a_place("dd|wB|ww", 2, 0, &["t3", "t2"], Some(1), None)]
#[case::also_before_its_turn("dw|B|ww", 1, 0, &[], Some(0), None)]
#[case::an_empty_wave_is_done("dd||ww", 5, 0, &["t2", "t3"], Some(2), None)]
#[case::nobody_waits_for_who_cannot("-|-w|w", 5, 0, &["t2"], Some(1), None)]
#[case::one_failed_and_may("df|w|w", 5, 1, &["t2"], Some(1), None)]
#[case::one_failed_and_may_not("df|w|w", 5, 0, &[], Some(1), Some(Halt::TooManyFailures))]
#[case::one_tries_again_and_has_not_succeeded_yet("rw|w|w", 5, 0, &[], Some(0), Some(Halt::TooManyFailures))]
#[case::one_tries_again_and_may_fail("rw|w|w", 5, 1, &["t1"], Some(0), None)]
#[case::others_may_still_succeed("fw|w|w", 5, 1, &["t1"], Some(0), None)]
#[case::nobody_succeeded("f|w|w", 5, 3, &[], Some(0), Some(Halt::NobodySucceeded { wave: 0 }))]
#[case::nobody_but_one_who_cannot("f-|w|w", 5, 3, &[], Some(0), Some(Halt::NobodySucceeded { wave: 0 }))]
#[case::all_is_done("dd|d|df", 5, 1, &[], None, None)]
#[case::somebody_came_later("dw|d|w", 5, 0, &["t1"], Some(0), None)]
fn whose_turn_it_is(
    #[case] fleet: &str,
    #[case] parallel: usize,
    #[case] failures: usize,
    #[case] go: &[&str],
    #[case] wave: Option<usize>,
    #[case] halt: Option<Halt>,
) {
    let turn = turn(&waves(), &members(fleet), &limits(parallel, failures));
    assert_eq!(
        (turn.go.iter().map(String::as_str).collect::<Vec<_>>().as_slice(), turn.wave, turn.halt),
        (go, wave, halt)
    );
    assert!(!turn.awaits_approval);
}

#[test]
fn a_pause_lets_nobody_go() {
    let limits = Limits { paused: true, ..limits(5, 0) };
    assert!(turn(&waves(), &members("ww|w|w"), &limits).go.is_empty());
}

#[test]
fn a_wave_waits_for_somebodys_word() {
    let limits = Limits { approved: BTreeSet::new(), ..limits(5, 0) };
    let turn = turn(&waves(), &members("dd|w|w"), &limits);
    assert!(turn.awaits_approval && turn.go.is_empty() && turn.wave == Some(1), "{turn:?}");
}

#[test]
fn all_are_counted() {
    let counts = turn(&waves(), &members("wB|ub|f-"), &limits(5, 1)).counts;
    let expected = TenantCounts {
        total: 6,
        up_to_date: 0,
        upgrading: 2,
        baking: 1,
        waiting: 1,
        failed: 1,
        set_aside: 1,
    };
    assert_eq!(counts, expected);
}

#[rstest]
#[case("cc|w|w", true)]
#[case("cd|w|w", true)]
#[case("cw|w|w", false)]
#[case("cu|w|w", false)]
#[case("dd|c|w", true)]
#[case("ww|c|w", false)]
#[case("dd|d|d", false)]
fn windows_are_waited_for_when_nothing_else_moves(#[case] fleet: &str, #[case] wanted: bool) {
    assert_eq!(turn(&waves(), &members(fleet), &limits(5, 0)).awaits_windows, wanted);
}

#[rstest]
#[case::of_two_the_earlier("wcc|w|w", Some('1'))]
#[case::of_those_whose_wave_it_is("dd|c|c", Some('2'))]
#[case::nobody_waits_for_one("ww|w|c", None)]
#[case::also_beside_others_that_go("uc|w|w", Some('1'))]
fn the_next_opening_is_known(#[case] fleet: &str, #[case] of: Option<char>) {
    let expected = of.map(|digit| Timestamp::from_second(i64::from(u32::from(digit))).unwrap());
    assert_eq!(turn(&waves(), &members(fleet), &limits(5, 0)).next_opening, expected);
}

/// A fleet in which time passes: who was told to go is upgraded, bakes, and is done, or fails.
#[derive(Debug)]
struct World {
    stages: Vec<(usize, Stage)>,
    fails: Vec<bool>,
    seen_in: Vec<usize>,
}

impl World {
    fn members<'a>(&self, names: &'a [String]) -> Vec<Member<'a>> {
        let all = names.iter().zip(&self.stages);
        all.map(|(name, (wave, stage))| Member {
            name,
            wave: *wave,
            stage: *stage,
            opens_at: None,
            retries: false,
        })
        .collect()
    }

    /// The tenant of that number comes a step further, if it is on its way.
    fn step(&mut self, tenant: usize) {
        let (_, stage) = &mut self.stages[tenant];
        *stage = match *stage {
            Stage::Upgrading if self.fails[tenant] => Stage::Failed,
            Stage::Upgrading => Stage::Baking,
            Stage::Baking => Stage::Done,
            Stage::Busy => Stage::Waiting,
            other => other,
        };
    }

    fn count(&self, wanted: Stage) -> usize {
        self.stages.iter().filter(|(_, stage)| *stage == wanted).count()
    }
}

fn world() -> impl Strategy<Value = World> {
    prop::collection::vec((0_usize..3, any::<u8>()), 1..24).prop_map(|tenants| {
        let (stages, fails) = tenants
            .into_iter()
            .map(|(wave, luck)| {
                let stage = match luck % 16 {
                    15 => Stage::Aside,
                    13 => Stage::Busy,
                    _ => Stage::Waiting,
                };
                ((wave, stage), luck % 16 == 14)
            })
            .unzip();
        World { stages, fails, seen_in: Vec::new() }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Whatever order things happen in.
    #[test]
    fn a_rollout_keeps_its_rules(
        mut world in world(),
        parallel in 1_usize..8,
        failures in 0_usize..4,
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..200),
    ) {
        let waves = waves();
        let names: Vec<String> = (0..world.stages.len()).map(|number| format!("t{number}")).collect();
        let limits = limits(parallel, failures);
        let settle = (0..3 * names.len() * names.len()).map(|step| step % names.len());
        let steps: Vec<usize> = order.iter().map(|index| index.index(names.len())).chain(settle).collect();
        for tenant in steps {
            let under_way = |world: &World| world.count(Stage::Upgrading) + world.count(Stage::Busy);
            let before = under_way(&world);
            let turn = turn(&waves, &world.members(&names), &limits);
            if turn.halt.is_some() {
                prop_assert!(turn.go.is_empty(), "a halted rollout lets nobody go");
            }
            for name in &turn.go {
                let number = names.iter().position(|known| known == name).unwrap();
                let (wave, stage) = world.stages[number];
                prop_assert!(matches!(stage, Stage::Waiting | Stage::Busy));
                let earlier_open = world.stages.iter().any(|(of, stage)| {
                    *of < wave && !matches!(stage, Stage::Done | Stage::Failed | Stage::Aside)
                });
                prop_assert!(!earlier_open, "one wave after the other");
                world.stages[number].1 = Stage::Upgrading;
                world.seen_in.push(wave);
            }
            prop_assert!(under_way(&world) <= parallel.max(before), "never more than may");
            prop_assert!(world.count(Stage::Failed) <= failures + parallel, "who is on its way may still fail, nobody else");
            world.step(tenant);
        }
        prop_assert!(world.seen_in.is_sorted());
        let turn = turn(&waves, &world.members(&names), &limits);
        prop_assert!(turn.go.is_empty() && world.count(Stage::Upgrading) + world.count(Stage::Baking) == 0);
        prop_assert!(world.count(Stage::Waiting) == 0 || turn.halt.is_some(), "it ends, or it is halted");
        prop_assert_eq!(turn.halt == Some(Halt::TooManyFailures), failures < world.count(Stage::Failed));
    }
}
