//! Random networks through profile, prune and evaluation.

use secateur::error::ErrorKind;
use secateur::exec::devices::Device;
use secateur::repair::Repair;

use super::builder::random;
use super::dice::Dice;
use super::setup::Setup;

/// Tests profile, prune with every repair, and evaluation of random networks on random data.
///
/// SECATEUR_GRAPHS sets their number.
#[test]
fn random_networks_are_pruned() {
    let count = std::env::var("SECATEUR_GRAPHS").ok().and_then(|n| n.parse().ok()).unwrap_or(24);
    let (mut pruned, mut blocked) = (0, 0);
    for number in 0..count {
        let mut dice = Dice::new(number);
        let moves: Vec<(u8, u8, u8)> =
            (0..1 + dice.roll(5)).map(|_| [(); 3].map(|()| dice.roll(256) as u8).into()).collect();
        // Each form of inputs in turn.
        let seed = (number + 16 * dice.roll(1 << 20) as u64) << 20;
        let (bytes, _) = random(seed, &moves, dice.roll(2) == 0);
        let setup = Setup::new(bytes).spec("random:7");
        let what = format!("network {number}, {moves:?}");
        let profile = setup.profile(&Device::Cpu);
        assert_eq!(profile.header.images, 7, "{what}");
        assert_eq!(setup.evaluate(&Device::Cpu).images, 7, "{what}");
        for repair in [Repair::None, Repair::Full] {
            match setup.pruned(&Device::Cpu, repair) {
                Ok(done) => {
                    assert!(done.proof.passed && done.proof.exact, "{what}, {repair:?}: {:?}", done.proof);
                    pruned += 1;
                }
                Err(error) if error.kind() == ErrorKind::BudgetInfeasible => blocked += 1,
                Err(error) => panic!("{what}, {repair:?}: {error}"),
            }
        }
    }
    println!("{pruned} networks pruned, {blocked} without enough channels");
    assert!(pruned > 3 * blocked, "{pruned} networks pruned, {blocked} without enough channels");
}
