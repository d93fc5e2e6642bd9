//! The disk of a relay is full, or reports errors, for a while, and it goes on without a restart.

use std::fs;

use super::Scene;
use crate::account::sound;
use crate::numbers::Numbers;
use crate::process::skipped;
use crate::round::{Fault, Theme};
use crate::tally::Tally;

/// Relays that a round uses.
const TRIES: usize = 10;
/// Calls to the disk among which the first fails.
const CALLS_MAX: usize = 14;
/// How many entries a relay may refuse when its disk is sound again.
const PATIENCE: u64 = 5;

pub(crate) const THEME: Theme = Theme {
    name: "relay-space",
    fault: "relay: disk full or failing for a while, from any call on, under devices and apps",
    prepare: |_| {
        let scene = Scene::new();
        if !scene.stage.has_shim() {
            skipped("failing a certain call to the disk needs a C compiler");
            return None;
        }
        Some(Box::new(Failures { scene }))
    },
};

struct Failures {
    scene: Scene,
}

impl Fault for Failures {
    fn tries(&self) -> usize {
        TRIES
    }

    fn attempt(&self, attempt: usize, numbers: &mut Numbers) -> Result<Tally, String> {
        let copies = self.scene.copies(attempt);
        let failing_while = copies.path("failing");
        let (fault, call) = (*numbers.pick(&["ENOSPC", "EIO"]), 1 + numbers.below(CALLS_MAX));
        let mut settings = vec![
            ("DISK_ROOT", copies.relay.data.to_str().unwrap().to_owned()),
            ("DISK_CALL", call.to_string()),
            ("DISK_FAULT", fault.to_owned()),
            ("DISK_WHILE", failing_while.to_str().unwrap().to_owned()),
        ];
        for name in ["DISK_HALF", "DISK_LASTING"] {
            if numbers.percent(50) {
                settings.push((name, "1".to_owned()));
            }
        }
        let named = |words: String| format!("{fault} from call {call} on: {words}");
        let relay = self.scene.stage.watched_relay(&copies.relay, &settings);
        let mut running = relay.try_start(&copies.host).map_err(|outcome| named(outcome.stderr))?;
        let mut acknowledged = self.scene.all.clone();
        let address = running.address();
        let pusher = self.scene.pusher(&running);
        fs::write(&failing_while, "").unwrap();
        for number in 1_000..1_004 {
            pusher.push(number, &mut acknowledged);
        }
        copies.sync_some(&address, 1_050..1_055, &mut acknowledged).map_err(named)?;
        fs::remove_file(&failing_while).unwrap();
        let mut later = 1_100..1_100 + PATIENCE;
        if !later.any(|number| pusher.push(number, &mut acknowledged)) {
            return Err(named("every further entry is refused".into()));
        }
        copies.sync_some(&address, 1_150..1_152, &mut acknowledged).map_err(named)?;
        if !running.is_alive() {
            return Err(named("it has ended".into()));
        }
        if numbers.percent(50) {
            sound(running.end()).map_err(named)?;
        } else if running.kill().stderr.contains("panicked at") {
            return Err(named("it panicked".into()));
        }
        copies.judge(&acknowledged).map(Tally::one).map_err(named)
    }
}
