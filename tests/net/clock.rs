//! A device whose clock is years off works like any other, and everybody concerned is told.
//!
//! The clock of a process is moved by a small library that is loaded before all others, so these
//! tests need a C compiler; without one they say that they were skipped.

use std::path::PathBuf;
use std::process::Command;

use crate::device::{Device, STEP_TIME_MAX, assert_in_step};
use crate::process::{eventually, skipped};
use crate::site::Site;

/// Seconds of ten years.
const TEN_YEARS: i64 = 3_652 * 86_400;

/// Stands before the `clock_gettime` of the system and moves the time of day.
const LIBRARY: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    const char *seconds = getenv("CLOCK_MOVED_BY");
    if (result == 0 && seconds && clock == CLOCK_REALTIME) now->tv_sec += atol(seconds);
    return result;
}
"#;

#[test]
fn a_device_ten_years_ahead_joins_records_and_syncs_and_both_sides_are_told() {
    off_by(TEN_YEARS, "ahead");
}

#[test]
fn a_device_ten_years_behind_joins_records_and_syncs_and_both_sides_are_told() {
    off_by(-TEN_YEARS, "behind");
}

fn off_by(seconds: i64, word: &str) {
    let site = Site::new();
    let Some(library) = library(&site) else {
        return skipped("moving the clock of a process needs a C compiler");
    };
    let [lead, right] = site.crew(["lead", "right"]);
    lead.well("Alder 1");
    let office = lead.daemon();
    let listen = ["--listen", "127.0.0.1:0", "--no-mdns", "--relay", &office.address()];
    let other = right.daemon_with(&listen);
    let hand = site.device("hand").with(move |mut command| {
        command.env("LD_PRELOAD", &library).env("CLOCK_MOVED_BY", seconds.to_string());
        command
    });
    hand.join(&lead.invite("operator"));
    hand.sync(&office.address());
    let entry =
        hand.record("field_entry", &["wellId=Alder 1", "entryType=PRODUCTION", "oilVolume=1"]);
    hand.sync(&office.address());
    assert_eq!(lead.ids("field_entry"), std::slice::from_ref(&entry));
    // One value by each, apart: a field in conflict, whoever's clock is ahead.
    lead.ok(&["edit", &entry, "oilVolume=2"]);
    hand.ok(&["edit", &entry, "oilVolume=3"]);
    let truck = hand.daemon_with(&listen);
    // Most clocks agree, so it is known whose is off.
    until_told(&lead, &format!("the clock of hand is 10 years {word}"));
    until_told(&hand, &format!("this device's clock is 10 years {word}"));
    eventually("both see the conflict", STEP_TIME_MAX, || {
        let open = |device: &Device| device.json(&["status"])["conflicts"] == 1;
        (open(&lead) && open(&hand)).then_some(())
    });
    truck.stop();
    other.stop();
    office.stop();
    right.meet(&lead);
    assert_in_step(&[&lead, &right, &hand]);
}

/// Waits until `status` says something.
#[track_caller]
fn until_told(device: &Device, words: &str) {
    eventually(words, STEP_TIME_MAX, || {
        let notes = device.json(&["status"])["notes"].to_string();
        notes.contains(words).then_some(())
    });
}

fn library(site: &Site) -> Option<PathBuf> {
    let (source, library) = (site.file("clock.c", LIBRARY), site.path("clock.so"));
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).args([&source, "-ldl"]);
    compiler.status().is_ok_and(|status| status.success()).then_some(library)
}
