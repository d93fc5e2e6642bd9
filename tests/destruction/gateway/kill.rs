//! SIGKILL of a relay at any call to its disk, or at any time, while devices sync and an app pushes.

use std::time::Duration;

use super::{Copies, Scene};
use crate::account::Account;
use crate::numbers::Numbers;
use crate::process::skipped;
use crate::round::{Fault, Theme};
use crate::tally::{Ending, Tally};

/// Relays that a round uses.
const RELAYS: usize = 6;
/// Kills of each.
const KILLS: usize = 4;
/// The calls to its disk among which a relay is killed.
const CALLS_MAX: usize = 160;
/// The longest that a relay lives after its writers began.
const LIFE_MAX_MS: usize = 900;
/// Entries that an app pushes while a relay lives.
const PUSHES: u64 = 12;

pub(crate) const THEME: Theme = Theme {
    name: "relay-kill",
    fault: "relay: kill -9 while devices sync through it and apps push, and while it starts",
    prepare: |_| {
        let scene = Scene::new();
        if !scene.stage.has_shim() {
            skipped("killing a program at a certain call needs a C compiler");
            return None;
        }
        Some(Box::new(Kills { scene }))
    },
};

struct Kills {
    scene: Scene,
}

impl Fault for Kills {
    fn tries(&self) -> usize {
        RELAYS
    }

    fn attempt(&self, attempt: usize, numbers: &mut Numbers) -> Result<Tally, String> {
        let copies = self.scene.copies(attempt);
        let mut acknowledged = self.scene.all.clone();
        let mut done = Tally::default();
        for life in 0..KILLS {
            live(&copies, life, numbers, &mut acknowledged)?;
            done.add(&Tally::one(Ending::Whole));
        }
        let ending = copies.judge(&acknowledged)?;
        done.tried -= 1;
        done.add(&Tally::one(ending));
        Ok(done)
    }
}

/// One life of a relay, up to its kill.
fn live(
    copies: &Copies<'_>,
    life: usize,
    numbers: &mut Numbers,
    acknowledged: &mut Account,
) -> Result<(), String> {
    let first = 1_000 + life * 100;
    let mut relay = copies.relay.clone();
    let is_timed = numbers.percent(30);
    if !is_timed {
        let mut settings = vec![
            ("DISK_ROOT", copies.relay.data.to_str().unwrap().to_owned()),
            ("DISK_CALL", (1 + numbers.below(CALLS_MAX)).to_string()),
            ("DISK_FAULT", "KILL".to_owned()),
        ];
        if numbers.percent(50) {
            settings.push(("DISK_HALF", "1".to_owned()));
        }
        relay = copies.scene.stage.watched_relay(&relay, &settings);
    }
    // Killed while it starts.
    let Ok(running) = relay.try_start(&copies.host) else { return Ok(()) };
    let pusher = copies.scene.pusher(&running);
    let address = running.address();
    let mut pushed = Account::default();
    let synced = std::thread::scope(|scope| {
        let pushing = scope.spawn(|| {
            let mut numbers = first as u64..first as u64 + PUSHES;
            numbers.all(|number| pusher.push(number, &mut pushed));
        });
        let syncing = scope.spawn(|| {
            let mut safe = Account::default();
            copies.sync_some(&address, first + 50..first + 55, &mut safe).map(|()| safe)
        });
        if is_timed {
            std::thread::sleep(Duration::from_millis(numbers.below(LIFE_MAX_MS) as u64));
            running.kill();
            let _ = pushing.join();
            return syncing.join().unwrap();
        }
        let _ = pushing.join();
        let synced = syncing.join().unwrap();
        running.kill();
        synced
    });
    acknowledged.add(&synced?);
    acknowledged.add(&pushed);
    Ok(())
}
