//! Goal: what is typed means what the documentation says, and what does not exist is refused.
//! Method: tables of command lines.

use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};
use fieldmesh::api::Choice;
use fieldmesh_model::Role;

use super::conflicts::Kind;
use super::*;

fn parse(line: &[&str]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(["fieldmesh"].iter().chain(line))
}

fn command(line: &[&str]) -> Command {
    parse(line).unwrap_or_else(|error| panic!("{line:?}: {error}")).command
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn questions_about_many_records_and_about_the_past_are_understood() {
    for line in [
        &["show", "State 12-4", "--at", "yesterday 17:00"][..],
        &["edit", "--all", "well", "--where", "operator=Cedar", "operator=Alder", "--dry-run"],
        &["edit", "--all", "well", "operator=Alder", "--yes"],
        &["conflicts", "resolve", "--all", "--kind", "duplicate", "--take", "b", "--dry-run"],
        &["conflicts", "resolve", "7c21", "--adopt"],
        &["notices", "--all", "--json"],
        &["notices", "--seen", "7c21", "--seen", "4be0"],
        &["conflicts", "resolve", "7c21", "--discard", "--json"],
        &["conflicts", "resolve", "7c21", "--reopen"],
        &["edit", "--all", "well", "operator=Alder", "--expect", "12"],
        &["list", "field_entry", "--site", "State 12-4", "--where", "oilVolume>80", "--count"],
        &["list", "field_entry", "--sort", "oilVolume:down", "--limit", "5", "--cursor", "01ab"],
        &["export", "well", "field_entry", "--history"],
        &["list", "field_entry", "--author", "Ana", "--device", "truck", "--conflict"],
    ] {
        command(line);
    }
}

#[test]
fn every_documented_command_is_understood() {
    for line in [
        &["tenant", "create", "Permian West", "--user", "a@b.c", "--device", "office"][..],
        &["invite"],
        &[
            "invite", "--role", "manager", "--user", "a@b.c", "--valid", "2h", "--count", "3",
            "--qr",
        ],
        &["join", "-"],
        &["join", "fieldmesh1abc", "--device", "truck-7"],
        &["record", "field_entry", "oilVolume=1"],
        &["record", "field_entry", "oilVolume=1", "--at", "2026-03-01T08:30:00Z"],
        &["record", "field_entry", "--from", "-"],
        &["edit", "7c21", "notes=a b"],
        &["edit", "7c21", "latitude=-3", "parts-=valve"],
        &["delete", "7c21"],
        &["restore-record", "7c21"],
        &["show", "State 12-4"],
        &["history", "7c21"],
        &["list", "well", "--where", "a=b", "--where", "c=d", "--limit", "3", "--deleted"],
        &["list", "field_entry", "--unsafe"],
        &["list", "field_entry", "--since", "yesterday", "--until", "today"],
        &["import", "a.csv", "--collection", "well", "--dry-run"],
        &["import", "a.csv.gz", "--map", "m.toml"],
        &["export", "well", "--format", "csv", "--history", "--where", "a=b"],
        &["sync"],
        &["sync", "--with", "truck-7", "--with", "10.0.0.1:7843", "--timeout", "5", "--no-mdns"],
        &["status", "--json"],
        &["peers", "-q"],
        &["devices"],
        &["devices", "show", "truck-7"],
        &["devices", "revoke", "truck-7", "--reason", "stolen", "--wipe", "--yes"],
        &["devices", "adopt", "truck-7"],
        &["devices", "adopt", "truck-7", "1f3a9c02", "77c21a9f"],
        &["sync", "--only", "well", "--only", "field_entry/3@2026-03"],
        &["run", "--only", "*@2026-01"],
        &["run", "--http", "127.0.0.1:7", "--http-apps", "--http-origin", "http://localhost:5173"],
        &["conflicts", "--kind", "rule", "--closed", "--limit", "20", "--after", "7c21"],
        &["conflicts", "comment", "7c21", "so it is"],
        &["conflicts", "resolve", "7c21", "--take", "b"],
        &["conflicts", "resolve", "7c21", "--set", "a=1", "b=2"],
        &["conflicts", "resolve", "--all", "--take", "latest"],
        &["run", "--listen", "127.0.0.1:0", "--relay", "a:1", "--relay", "b:2", "--no-mdns"],
        &["stop"],
        &["verify"],
        &["backup", "a.backup"],
        &["backup", "b.backup", "--since", "a.backup"],
        &["backup", "--check", "a.backup"],
        &["restore", "a.backup", "b.backup"],
        &["compact"],
        &["evict"],
        &["evict", "--before", "2026-03", "--dry-run"],
        &["evict", "--keep-months", "3", "--yes"],
        &["evict", "--auto", "4"],
        &["evict", "--auto", "off"],
        &["evict", "--back-to", "2026-01"],
        &["passphrase", "change"],
        &["passphrase", "change", "--to-key-file", "/media/key"],
        &["passphrase", "change", "--to-usual-key-file"],
        &["passphrase", "remember"],
        &["passphrase", "forget"],
        &["rekey"],
        &["doctor"],
        &["doctor", "--accept", "--json"],
        &["purge", "7c21", "4be0", "--reason", "asked for", "--dry-run"],
        &["purge", "7c21", "--yes", "--json"],
        &["purge", "--list"],
        &["completions", "bash"],
    ] {
        command(line);
    }
}

#[test]
fn drafts_are_begun_shown_changed_and_submitted() {
    for line in [
        &["record", "well", "name=Alder", "--draft"][..],
        &["drafts"],
        &["drafts", "--json"],
        &["drafts", "show", "5be1"],
        &["drafts", "edit", "5be1", "name=x"],
        &["drafts", "discard", "5be1"],
        &["submit", "5be1"],
    ] {
        parse(line).unwrap();
    }
}

#[test]
fn schemas_are_checked_applied_and_shown() {
    for line in [
        &["schema", "check", "round.toml"][..],
        &["schema", "apply", "-", "--dry-run"],
        &["schema", "show"],
        &["schema", "show", "pump_round", "--json"],
    ] {
        command(line);
    }
}

#[test]
fn what_is_for_many_is_refused_for_one() {
    for line in [
        &["edit", "7c21", "notes=checked", "--yes"][..],
        &["edit", "--all", "well", "notes=checked", "--dry-run", "--yes"],
        &["conflicts", "resolve", "7c21", "--take", "A", "--dry-run"],
        &["conflicts", "resolve", "7c21", "--take", "A", "--yes"],
        &["conflicts", "resolve", "--all", "--take", "A", "--dry-run", "--expect", "1"],
        &["conflicts", "resolve", "7c21", "--take", "A", "--kind", "field"],
        &["conflicts", "resolve", "7c21", "--take", "A", "--discard"],
        &["conflicts", "resolve", "7c21", "--adopt", "--discard"],
        &["notices", "--all", "--seen", "7c21"],
        &["conflicts", "resolve", "--all", "--discard"],
    ] {
        assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line:?}");
    }
}

#[test]
fn relays_are_named_listed_and_taken_back() {
    for line in [
        &["relay", "add", "relay.example.org"][..],
        &["relay", "add", "fieldmeshclaim1abc"],
        &["relay", "add", "-"],
        &["relay", "add", "fieldmeshclaim1abc", "--gateway"],
        &["relay", "add", "192.0.2.7:7843", "--device", "relay", "--no-check"],
        &["relay", "list", "--json"],
        &["relay", "remove", "192.0.2.7:7843"],
    ] {
        command(line);
    }
    for line in [
        &["relay"][..],
        &["relay", "add"],
        &["relay", "add", "relay.example.org", "--no-check"],
        &["relay", "add", "relay.example.org", "--device", "relay", "--gateway"],
        &["relay", "remove"],
    ] {
        assert_eq!(parse(line).map(|_| ()).unwrap_err().exit_code(), 2, "{line:?}");
    }
}

#[test]
fn what_does_not_exist_is_refused_as_wrong_usage() {
    for line in [
        &["record", "field_entry", "a=1", "--critical"][..],
        &["record", "field_entry", "a=1", "--photo", "x.jpg"],
        &["record", "field_entry"],
        &["doctor", "everything"],
        &["record", "field_entry", "a=1", "--at", "2026-02-31"],
        &["edit", "7c21"],
        &["passphrase"],
        &["passphrase", "change", "secret"],
        &["passphrase", "change", "--to-key-file", "a", "--to-usual-key-file"],
        &["rekey", "now"],
        &["evict", "2026-03"],
        &["evict", "--auto", "0"],
        &["evict", "--auto", "soon"],
        &["evict", "--yes"],
        &["evict", "--keep-months", "3", "--before", "2026-03"],
        &["edit", "7c21", "notes=checked", "--dry-run"],
        &["edit", "7c21", "notes=checked", "--where", "status=ACTIVE"],
        &["list", "well", "--count", "--limit", "3"],
        &["show", "7c21", "--at", "never"],
        &["import", "a.csv"],
        &["export", "well", "--format", "xlsx"],
        &["invite", "--role", "boss"],
        &["invite", "--valid", "0s"],
        &["invite", "--count", "0"],
        &["invite", "--png", "x.png"],
        &["join"],
        &["join", "--request", "f"],
        &["run", "--http", "0.0.0.0:7878"],
        &["run", "--http-origin", "*"],
        &["run", "--listen", "somewhere"],
        &["sync", "--timeout", "-1"],
        &["backup"],
        &["backup", "a", "--check", "b"],
        &["backup", "--check", "b", "--since", "a"],
        &["restore"],
        &["devices", "revoke"],
        &["devices", "adopt"],
        &["sync", "--only"],
        &["conflicts", "resolve", "7c21"],
        &["conflicts", "resolve", "--take", "A"],
        &["conflicts", "resolve", "7c21", "--all", "--take", "A"],
        &["conflicts", "resolve", "7c21", "--take", "A", "--set", "a=1"],
        &["conflicts", "resolve", "--all", "--set", "a=1"],
        &["conflicts", "resolve", "7c21", "--take", "mine"],
        &["conflicts", "resolve", "7c21", "--keep-both"],
        &["status", "-q", "-v"],
        &["bundle", "export", "f"],
        &["recovery", "create"],
        &["service", "install"],
        &["submit"],
        &["drafts", "edit", "5be1"],
        &["drafts", "discard"],
        &["record", "well", "--draft", "--from", "f"],
        &["approve"],
        &["approve", "7c21", "--yes", "--expect", "3b"],
        &["purge"],
        &["schema"],
        &["schema", "check"],
        &["schema", "apply"],
        &["schema", "drop", "pump_round"],
        &["purge", "--list", "7c21"],
        &["purge", "--list", "--yes"],
        &[],
    ] {
        let error = parse(line).map(|_| ()).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{line:?}");
    }
    assert_eq!(parse(&["--help"]).unwrap_err().kind(), ErrorKind::DisplayHelp);
    assert_eq!(parse(&["--help"]).unwrap_err().exit_code(), 0);
}

#[test]
fn defaults_are_the_documented_ones() {
    let Command::Invite(invite) = command(&["invite"]) else { panic!("not invite") };
    assert_eq!(invite.role, Role::Operator);
    assert_eq!(invite.valid, Duration::from_secs(86_400));
    assert_eq!(invite.count, 1);
    let Command::Sync(sync) = command(&["sync"]) else { panic!("not sync") };
    assert_eq!(sync.timeout, Duration::from_secs(30));
    assert!(!sync.no_mdns);
    let Command::Export(export) = command(&["export", "well"]) else { panic!("not export") };
    assert_eq!(export.format, Format::Jsonl);
}

#[test]
fn a_side_of_a_conflict_is_a_letter_or_a_word() {
    for (text, expected) in [
        ("b", Choice::Label("B".into())),
        ("AA", Choice::Label("AA".into())),
        ("client", Choice::Client),
        ("SERVER", Choice::Server),
        ("latest", Choice::Latest),
        ("both", Choice::Both),
    ] {
        let Command::Conflicts(args) = command(&["conflicts", "resolve", "x", "--take", text])
        else {
            panic!("not conflicts")
        };
        let Some(ConflictCommand::Resolve(resolve)) = args.command else { panic!("not resolve") };
        assert_eq!(resolve.take, Some(expected), "{text}");
    }
}

#[test]
fn kinds_are_written_as_reports_write_them() {
    for kind in ["field", "duplicate", "deleted-and-edited", "rule", "parallel", "quarantine"] {
        let Command::Conflicts(args) = command(&["conflicts", "--kind", kind]) else {
            panic!("not conflicts")
        };
        assert_eq!(args.kind.map(Kind::as_str), Some(kind));
    }
}

#[test]
fn global_flags_stand_anywhere() {
    for line in [&["--json", "--home", "h", "status"][..], &["status", "--json", "--home", "h"]] {
        let global = parse(line).unwrap().global;
        assert!(global.json);
        assert_eq!(global.home.unwrap().to_str(), Some("h"));
    }
}
